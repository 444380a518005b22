"""What programs do with redis-py every day, in both protocols. tests/clients.rs restarts the server when asked to."""

import json

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from server import BINARY_KEY, COMPARE_AND_DELETE, FEATURES, URL, done, raises, restart, url_as


def everyday(protocol):
    # each protocol in a store of its own
    url = f"{URL}/{protocol}?protocol={protocol}"
    retry = Retry(ExponentialBackoff(), 3)  # by default, what from_url makes does not try again
    client = redis.Redis.from_url(url, decode_responses=True, client_name="everyday", retry=retry)
    client.flushdb()
    assert client.ping()
    assert client.client_getname() == "everyday"

    # JSON values and their deadlines
    order = {"id": 17, "lines": [{"sku": "a-1", "count": 2}], "note": "Grüße", "paid": None}
    text = json.dumps(order)
    assert client.set("order:17", text, ex=100) is True
    assert client.get("order:17") == text
    assert json.loads(client.get("order:17")) == order
    assert 90 <= client.ttl("order:17") <= 100
    assert client.persist("order:17")
    assert client.ttl("order:17") == -1
    assert client.set("order:17", "1", nx=True) is None
    assert client.set("order:17", "1", get=True) == text
    assert client.getdel("order:17") == "1"
    assert client.get("order:17") is None
    assert client.exists("order:17") == 0
    client.set("due", "1")
    assert client.expireat("due", 1)
    assert client.get("due") is None

    # a key of any bytes
    assert client.set(BINARY_KEY, "[0]") is True
    assert client.get(BINARY_KEY) == "[0]"
    raw = redis.Redis.from_url(url)
    assert raw.keys() == [BINARY_KEY]
    assert raw.delete(BINARY_KEY) == 1

    # many at once
    assert client.mset({"a": "1", "b": "2"})
    assert client.mget("a", "b", "c") == ["1", "2", None]
    assert client.delete("a", "b", "c") == 2

    # counters
    assert client.incr("counter") == 1
    assert client.incrby("counter", 41) == 42
    assert client.incrbyfloat("counter", 0.5) == 42.5

    # a pipeline, and a transaction that another client gets in the way of
    with client.pipeline(transaction=False) as pipeline:
        for index in range(1000):
            pipeline.set(f"key:{index}", json.dumps({"index": index}))
        assert all(pipeline.execute())
    with client.pipeline() as transaction:
        transaction.set("key:0", "0").get("key:0").incr("key:0")
        assert transaction.execute() == [True, "0", 1]
    with client.pipeline() as transaction:
        transaction.watch("key:0")
        raw.set("key:0", "5")
        transaction.multi()
        transaction.set("key:0", "6")
        with raises(redis.WatchError):
            transaction.execute()
    assert client.get("key:0") == "5"

    # walking
    keys = sorted(client.scan_iter(match="key:*", count=100))
    assert keys == sorted(f"key:{index}" for index in range(1000)), len(keys)
    assert client.dbsize() == 1001

    # errors are exceptions, and the connection lives on
    client.set("text", json.dumps("not a number"))
    with raises(redis.ResponseError, "not an integer"):
        client.incr("text")
    with raises(redis.ResponseError, "unknown command"):
        client.execute_command("NONSENSE")
    with raises(redis.ResponseError, "wrong number of arguments"):
        client.execute_command("GET")
    with client.pipeline() as transaction:
        transaction.incr("text").set("after", "1")
        with raises(redis.ResponseError, "not an integer"):
            transaction.execute()
    assert client.get("after") == "1"
    assert client.get("text") == '"not a number"'

    # stores do not see each other
    other = redis.Redis.from_url(f"{URL}?protocol={protocol}", db=5)
    assert other.get("text") is None
    other.close()

    # nobody gets in without the password
    with raises(redis.AuthenticationError):
        redis.Redis.from_url(url_as("", "wrong"), protocol=protocol).ping()
    with raises(redis.AuthenticationError):
        redis.Redis.from_url(f"redis://{URL.rsplit('@', 1)[1]}", protocol=protocol).ping()

    assert client.info("server")["tcp_port"] == int(URL.rsplit(":", 1)[1])
    assert client.config_get("timeout") == {"timeout": "0"}
    return client


def subscribe(client, protocol):
    subscriber = client.pubsub(ignore_subscribe_messages=True)
    subscriber.subscribe(f"news:{protocol}")
    subscriber.psubscribe(f"weather:{protocol}:*")
    # a subscription is in force once its confirmation has been read
    for _ in range(2):
        assert subscriber.get_message(timeout=10) is None
    # channels belong to the server, not to a store
    with redis.Redis.from_url(URL, db=9) as publisher:
        assert publisher.pubsub_numsub(f"news:{protocol}")[0][1] == 1
        assert publisher.publish(f"news:{protocol}", "one") == 1
        assert publisher.publish(f"weather:{protocol}:north", "two") == 1
    assert next_message(subscriber) == ("message", f"news:{protocol}", "one")
    assert next_message(subscriber) == ("pmessage", f"weather:{protocol}:north", "two")
    subscriber.punsubscribe()
    return subscriber


def next_message(subscriber):
    while True:
        message = subscriber.get_message(timeout=10)
        if message is not None:
            return message["type"], message["channel"], message["data"]


def users(client, protocol):
    user = f"shop{protocol}"
    assert client.acl_setuser(
        user,
        enabled=True,
        passwords=["+open"],
        keys=["shop:*"],
        categories=["+@read", "+@write", "+@connection"],
        commands=["+acl|whoami"],
    )
    assert user in client.acl_users()
    with redis.Redis.from_url(f"{url_as(user, 'open')}/{protocol}?protocol={protocol}", decode_responses=True) as shop:
        assert shop.acl_whoami() == user
        assert shop.set("shop:1", "1")
        with raises(redis.exceptions.NoPermissionError, "key"):
            shop.get("counter")
        with raises(redis.exceptions.NoPermissionError, "config"):
            shop.config_get("timeout")
    assert client.acl_deluser(user) == 1
    with raises(redis.AuthenticationError):
        redis.Redis.from_url(url_as(user, "open"), protocol=protocol).ping()


def scripts(client):
    compare_and_delete = client.register_script(COMPARE_AND_DELETE)
    client.set("job", '"mine"')
    assert compare_and_delete(keys=["job"], args=['"theirs"']) == 0
    assert compare_and_delete(keys=["job"], args=['"mine"']) == 1
    assert client.eval("return {KEYS[1], ARGV[1], 3}", 1, "k", "v") == ["k", "v", 3]
    with raises(redis.exceptions.NoScriptError):
        client.evalsha("0" * 40, 0)


clients = [everyday(2), everyday(3)]
subscribers = []
for client, protocol in zip(clients, (2, 3)):
    if "pubsub" in FEATURES:
        subscribers.append(subscribe(client, protocol))
    if "acl" in FEATURES:
        users(client, protocol)
    if "eval" in FEATURES:
        scripts(client)

# the same clients go on after a restart
restart()
for client in clients:
    assert client.get("key:7") == '{"index": 7}'
    assert client.set("key:7", "7") is True
for subscriber, client, protocol in zip(subscribers, clients, (2, 3)):
    assert subscriber.get_message(timeout=0.01) is None
    while client.pubsub_numsub(f"news:{protocol}")[0][1] == 0:
        subscriber.get_message(timeout=0.01)
    assert client.publish(f"news:{protocol}", "three") == 1
    assert next_message(subscriber) == ("message", f"news:{protocol}", "three")
done()
