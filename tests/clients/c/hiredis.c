/* What programs do with hiredis every day. tests/clients.rs compiles this, and restarts the server when asked to. */

#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char host[64], password[64];
static int port;

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                                            \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* A reply that has come in, whatever it says. */
static redisReply *received(redisContext *context, void *reply) {
    CHECK(reply != NULL, "%s", context->errstr);
    return reply;
}

static redisReply *ask(redisContext *context, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    redisReply *reply = received(context, redisvCommand(context, format, arguments));
    va_end(arguments);
    return reply;
}

static redisReply *next(redisContext *context) {
    void *reply = NULL;
    redisGetReply(context, &reply);
    return received(context, reply);
}

static void expect_text(redisReply *reply, const char *text) {
    CHECK(reply->str != NULL && strcmp(reply->str, text) == 0, "type %d, %s", reply->type, reply->str);
    freeReplyObject(reply);
}

static void expect_number(redisReply *reply, long long low, long long high) {
    CHECK(reply->type == REDIS_REPLY_INTEGER, "type %d, %s", reply->type, reply->str);
    CHECK(low <= reply->integer && reply->integer <= high, "%lld", reply->integer);
    freeReplyObject(reply);
}

static void expect_nil(redisReply *reply) {
    CHECK(reply->type == REDIS_REPLY_NIL, "type %d, %s", reply->type, reply->str);
    freeReplyObject(reply);
}

static void expect_error(redisReply *reply, const char *text) {
    CHECK(reply->type == REDIS_REPLY_ERROR, "type %d", reply->type);
    CHECK(strstr(reply->str, text) != NULL, "%s", reply->str);
    freeReplyObject(reply);
}

static void expect_message(redisReply *reply, const char *kind, const char *last) {
    CHECK(reply->type == REDIS_REPLY_ARRAY, "type %d, %s", reply->type, reply->str);
    CHECK(strcmp(reply->element[0]->str, kind) == 0, "%s", reply->element[0]->str);
    redisReply *data = reply->element[reply->elements - 1];
    CHECK(last == NULL || strcmp(data->str, last) == 0, "%s", data->str);
    freeReplyObject(reply);
}

static int has(const char *feature) { return strstr(getenv("LARDER_FEATURES"), feature) != NULL; }

static redisContext *stranger(void) {
    redisContext *context = redisConnect(host, port);
    CHECK(context != NULL && context->err == 0, "%s", context ? context->errstr : "no memory");
    return context;
}

static void log_in(redisContext *context) {
    expect_text(ask(context, "AUTH %s", password), "OK");
    expect_text(ask(context, "SELECT 6"), "OK");
}

static void everyday(redisContext *context) {
    expect_text(ask(context, "FLUSHDB"), "OK");
    expect_text(ask(context, "PING"), "PONG");

    /* JSON values and their deadlines */
    const char *text = "{\"id\": 17, \"note\": \"Gr\xc3\xbc\xc3\x9f\x65\"}";
    expect_text(ask(context, "SET order:17 %s EX 100", text), "OK");
    expect_text(ask(context, "GET order:17"), text);
    expect_number(ask(context, "TTL order:17"), 90, 100);
    expect_nil(ask(context, "SET order:17 1 NX"));
    expect_text(ask(context, "GETDEL order:17"), text);
    expect_nil(ask(context, "GET order:17"));

    /* a key of any bytes, and a deadline in the past */
    const char binary[] = "\x00\xff\r\n \"'*\xfe";
    const size_t length = sizeof binary - 1;
    expect_text(ask(context, "SET %b %s", binary, length, "[0]"), "OK");
    redisReply *keys = ask(context, "KEYS *");
    CHECK(keys->elements == 1 && keys->element[0]->len == length, "%zu keys", keys->elements);
    CHECK(memcmp(keys->element[0]->str, binary, length) == 0, "another key");
    freeReplyObject(keys);
    expect_number(ask(context, "PEXPIREAT %b 1", binary, length), 1, 1);
    expect_number(ask(context, "EXISTS %b", binary, length), 0, 0);

    /* a pipeline */
    for (int index = 0; index < 1000; index++)
        redisAppendCommand(context, "SET key:%d {\"index\":%d}", index, index);
    for (int index = 0; index < 1000; index++)
        expect_text(next(context), "OK");

    /* a transaction, and one that another client gets in the way of */
    expect_text(ask(context, "MULTI"), "OK");
    expect_text(ask(context, "SET counter 41"), "QUEUED");
    expect_text(ask(context, "INCR counter"), "QUEUED");
    redisReply *replies = ask(context, "EXEC");
    CHECK(replies->elements == 2 && replies->element[1]->integer == 42, "%zu replies", replies->elements);
    freeReplyObject(replies);
    redisContext *other = stranger();
    log_in(other);
    expect_text(ask(context, "WATCH counter"), "OK");
    expect_text(ask(other, "SET counter 5"), "OK");
    expect_text(ask(context, "MULTI"), "OK");
    expect_text(ask(context, "SET counter 6"), "QUEUED");
    expect_nil(ask(context, "EXEC"));
    expect_text(ask(context, "GET counter"), "5");
    redisFree(other);

    /* walking */
    char cursor[32] = "0";
    size_t found = 0;
    do {
        redisReply *page = ask(context, "SCAN %s MATCH key:* COUNT 100", cursor);
        snprintf(cursor, sizeof cursor, "%s", page->element[0]->str);
        found += page->element[1]->elements;
        freeReplyObject(page);
    } while (strcmp(cursor, "0") != 0);
    CHECK(found == 1000, "%zu", found);

    /* errors are replies, and the connection lives on */
    expect_text(ask(context, "SET text %s", "\"not a number\""), "OK");
    expect_error(ask(context, "INCR text"), "ERR value is not an integer or out of range");
    expect_error(ask(context, "NONSENSE"), "ERR unknown command");
    expect_text(ask(context, "GET text"), "\"not a number\"");
    redisContext *nobody = stranger();
    expect_error(ask(nobody, "GET text"), "NOAUTH");
    expect_error(ask(nobody, "AUTH wrong"), "WRONGPASS");
    redisFree(nobody);
}

static void subscribe(redisContext *context) {
    redisContext *subscriber = stranger();
    log_in(subscriber);
    expect_message(ask(subscriber, "SUBSCRIBE c"), "subscribe", NULL);
    expect_message(ask(subscriber, "PSUBSCRIBE c:*"), "psubscribe", NULL);
    expect_number(ask(context, "PUBLISH c one"), 1, 1);
    expect_number(ask(context, "PUBLISH c:north two"), 1, 1);
    expect_message(next(subscriber), "message", "one");
    expect_message(next(subscriber), "pmessage", "two");
    redisFree(subscriber);
}

static void users(redisContext *context) {
    expect_text(ask(context, "ACL SETUSER c-shop on >open ~shop:* +@read +@write +@connection"), "OK");
    redisContext *shop = stranger();
    expect_text(ask(shop, "AUTH c-shop open"), "OK");
    expect_text(ask(shop, "SET shop:1 1"), "OK");
    expect_error(ask(shop, "GET counter"), "NOPERM");
    redisFree(shop);
    expect_number(ask(context, "ACL DELUSER c-shop"), 1, 1);
}

static void scripts(redisContext *context) {
    redisReply *reply = ask(context, "EVAL %s 1 counter", "return {redis.call('GET', KEYS[1]), 3}");
    CHECK(reply->elements == 2 && strcmp(reply->element[0]->str, "5") == 0, "%s", reply->str);
    CHECK(reply->element[1]->integer == 3, "%lld", reply->element[1]->integer);
    freeReplyObject(reply);
    expect_error(ask(context, "EVALSHA 0000000000000000000000000000000000000000 0"), "NOSCRIPT");
}

int main(void) {
    const char *url = getenv("LARDER_URL");
    CHECK(sscanf(url, "redis://:%63[^@]@%63[^:]:%d", password, host, &port) == 3, "%s", url);
    redisContext *context = stranger();
    log_in(context);
    everyday(context);
    if (has("pubsub"))
        subscribe(context);
    if (has("acl"))
        users(context);
    if (has("eval"))
        scripts(context);

    /* the old connection is gone after a restart, and a new one finds the data */
    puts("restart");
    fflush(stdout);
    CHECK(getchar() == '\n', "the driver is gone");
    CHECK(redisCommand(context, "PING") == NULL && context->err != 0, "the server was not gone");
    CHECK(redisReconnect(context) == REDIS_OK, "%s", context->errstr);
    log_in(context);
    expect_text(ask(context, "GET key:7"), "{\"index\":7}");
    redisFree(context);
    puts("done");
    return 0;
}
