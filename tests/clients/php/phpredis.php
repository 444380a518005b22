<?php
// What programs do with phpredis every day. tests/clients.rs restarts the server when asked to.

const BINARY_KEY = "\x00\xff\r\n \"'*\xfe";
const COMPARE_AND_DELETE =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

$server = parse_url(getenv('LARDER_URL'));
$features = explode(' ', getenv('LARDER_FEATURES'));

function same(mixed $expected, mixed $found): void
{
    if ($expected !== $found) {
        throw new Exception('expected ' . var_export($expected, true) . ', found ' . var_export($found, true));
    }
}

function contains(string $part, ?string $found): void
{
    if (!str_contains((string) $found, $part)) {
        throw new Exception('expected ' . var_export($part, true) . ' in ' . var_export($found, true));
    }
}

function fails(string $text, callable $action): void
{
    try {
        $action();
    } catch (RedisException $error) {
        contains($text, $error->getMessage());
        return;
    }
    throw new Exception("no error with $text");
}

function connect(string|array $login): Redis
{
    global $server;
    $client = new Redis();
    $client->connect($server['host'], $server['port'], 10);
    same(true, $client->auth($login));
    same(true, $client->select(6));
    return $client;
}

$client = connect($server['pass']);
same(true, $client->flushDB());
same(true, $client->ping());

// JSON values and their deadlines
$text = json_encode(['id' => 17, 'note' => 'Grüße', 'paid' => null]);
same(true, $client->set('order:17', $text, ['ex' => 100]));
same($text, $client->get('order:17'));
$ttl = $client->ttl('order:17');
same(true, 90 <= $ttl && $ttl <= 100);
same(false, $client->set('order:17', '1', ['nx']));
same(true, $client->persist('order:17'));
same(-1, $client->ttl('order:17'));
same(1, $client->unlink('order:17'));
same(false, $client->get('order:17'));

// a key of any bytes, and a deadline in the past
same(true, $client->set(BINARY_KEY, '[0]'));
same([BINARY_KEY], $client->keys('*'));
same(true, $client->pExpireAt(BINARY_KEY, 1));
same(0, $client->exists(BINARY_KEY));

// values that the client itself writes as JSON
$client->setOption(Redis::OPT_SERIALIZER, Redis::SERIALIZER_JSON);
same(true, $client->set('array', ['a' => [1, 2, 'drei']]));
same(['a' => [1, 2, 'drei']], $client->get('array'));
$client->setOption(Redis::OPT_SERIALIZER, Redis::SERIALIZER_NONE);
same('{"a":[1,2,"drei"]}', $client->get('array'));
same(1, $client->del('array'));

// a pipeline, a transaction, and one that another client gets in the way of
$pipeline = $client->pipeline();
for ($index = 0; $index < 1000; $index++) {
    $pipeline->set("key:$index", json_encode(['index' => $index]));
}
same(array_fill(0, 1000, true), $pipeline->exec());
same([true, 42, '42'], $client->multi()->set('counter', '41')->incr('counter')->get('counter')->exec());
$client->watch('counter');
$other = connect($server['pass']);
same(true, $other->set('counter', '5'));
same(false, $client->multi()->set('counter', '6')->exec());
same('5', $client->get('counter'));

// walking
$client->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
$keys = [];
$cursor = null;
while (($page = $client->scan($cursor, 'key:*', 100)) !== false) {
    array_push($keys, ...$page);
}
same(1000, count($keys));
same(1000, count(array_unique($keys)));
same(1001, $client->dbSize());

// errors are false and a text, or exceptions; the connection lives on
$client->set('text', '"not a number"');
same(false, $client->incr('text'));
contains('ERR value is not an integer or out of range', $client->getLastError());
$client->clearLastError();
same(false, $client->rawCommand('NONSENSE'));
contains('unknown command', $client->getLastError());
$client->clearLastError();
same('"not a number"', $client->get('text'));
fails('WRONGPASS', fn () => connect('wrong'));

if (in_array('pubsub', $features)) {
    $received = [];
    $subscriber = connect($server['pass']);
    // subscribing does not return: another process says the first word, the callback the second, and closes
    $heard = function (Redis $subscriber, string $channel, string $message) use ($other, &$received): void {
        $received[] = [$channel, $message];
        if ($message === 'one') {
            same(1, $other->publish('php', 'two'));
        } else {
            $subscriber->close();
        }
    };
    $publisher = popen('exec ' . PHP_BINARY . ' -r ' . escapeshellarg(
        '$r = new Redis(); $r->connect($argv[1], $argv[2]); $r->auth($argv[3]);'
        . 'while ($r->publish("php", "one") === 0) usleep(1000);',
    ) . ' ' . implode(' ', array_map('escapeshellarg', [$server['host'], $server['port'], $server['pass']])), 'r');
    fails('Connection closed', fn () => $subscriber->subscribe(['php'], $heard));
    pclose($publisher);
    same([['php', 'one'], ['php', 'two']], $received);
}

if (in_array('acl', $features)) {
    same(true, $client->acl('SETUSER', 'php', 'on', '>open', '~shop:*', '+@read', '+@write', '+@connection'));
    $shop = connect(['php', 'open']);
    same(true, $shop->set('shop:1', '1'));
    fails('NOPERM', fn () => $shop->get('counter'));
    same(1, $client->acl('DELUSER', 'php'));
}

if (in_array('eval', $features)) {
    $client->set('job', '"mine"');
    same(0, $client->eval(COMPARE_AND_DELETE, ['job', '"theirs"'], 1));
    same(1, $client->evalSha(sha1(COMPARE_AND_DELETE), ['job', '"mine"'], 1));
    same(false, $client->evalSha(str_repeat('0', 40)));
    contains('NOSCRIPT', $client->getLastError());
}

// the same client goes on after a restart
echo "restart\n";
fgets(STDIN);
same('{"index":7}', $client->get('key:7'));
same(true, $client->set('key:7', '7'));
echo "done\n";
