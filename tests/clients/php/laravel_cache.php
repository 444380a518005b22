<?php
// Laravel's cache, locks, rate limiter and sessions, as its documentation shows them. The store takes any bytes, because
// Laravel serializes everything but numbers.

require_once 'Illuminate/Redis/autoload.php';
require_once 'Illuminate/Cache/autoload.php';
require_once 'Illuminate/Session/autoload.php';

use Illuminate\Cache\RateLimiter;
use Illuminate\Cache\RedisStore;
use Illuminate\Cache\Repository;
use Illuminate\Redis\RedisManager;
use Illuminate\Session\CacheBasedSessionHandler;
use Illuminate\Session\Store;

function same(mixed $expected, mixed $found): void
{
    if ($expected !== $found) {
        throw new Exception('expected ' . var_export($expected, true) . ', found ' . var_export($found, true));
    }
}

$server = parse_url(getenv('LARDER_URL'));

function cache(string $prefix = 'app_cache:'): Repository
{
    global $server;
    // config/database.php, with 'client' => 'phpredis'
    $redis = new RedisManager(null, 'phpredis', [
        'options' => ['prefix' => 'laravel_database_'],
        'cache' => [
            'host' => $server['host'],
            'port' => $server['port'],
            'password' => urldecode($server['pass']),
            'database' => 2,
        ],
    ]);
    $store = new RedisStore($redis, $prefix, 'cache');
    $store->setLockConnection('cache');
    return new Repository($store);
}

$cache = cache();
$user = ['name' => 'Ada', 'langs' => ['en', 'fr'], 'born' => 1815, 'note' => "caf\xc3\xa9 \x00 \xff"];

$cache->put('user:1', $user, 600);
same($user, $cache->get('user:1'));
same('none', $cache->get('user:2', 'none'));
same(true, $cache->has('user:1'));
$object = (object) ['total' => 12.5];
$cache->forever('order', $object);
same(true, $cache->get('order') == $object);
same(true, $cache->add('once', 1, 60));
same(false, $cache->add('once', 2, 60));
same(1, (int) $cache->get('once'));
same('made', $cache->remember('made', 60, fn () => 'made'));
same('made', $cache->remember('made', 60, fn () => throw new Exception('it is there')));
$cache->put(['a' => 1, 'b' => 'two'], 60);
same(['a' => '1', 'b' => 'two', 'c' => null], array_map(fn ($v) => is_int($v) ? (string) $v : $v, $cache->many(['a', 'b', 'c'])));
same('two', $cache->pull('b'));
same(null, $cache->get('b'));
same(5, $cache->increment('visits', 5));
same(3, $cache->decrement('visits', 2));
same(3, (int) $cache->get('visits'));
$cache->put('short', 'x', 1);
usleep(1_200_000);
same(null, $cache->get('short'));

// a lock is removed by a script, and only by its owner
$lock = $cache->lock('import', 30);
same(true, $lock->get());
same(false, $cache->lock('import', 30)->get());
$owner = $lock->owner();
same(false, $cache->lock('import', 30)->release());
same(true, $cache->restoreLock('import', $owner)->release());
same('ran', $cache->lock('import', 30)->get(fn () => 'ran'));
same('waited', $cache->lock('import', 30)->block(2, fn () => 'waited'));

$limiter = new RateLimiter($cache);
foreach ([1, 2, 3] as $hits) {
    same(false, $limiter->tooManyAttempts('login:ada', 3));
    same($hits, $limiter->hit('login:ada', 60));
}
same(true, $limiter->tooManyAttempts('login:ada', 3));
same(0, $limiter->retriesLeft('login:ada', 3));
$limiter->clear('login:ada');
same(false, $limiter->tooManyAttempts('login:ada', 3));

function session(?string $id = null): Store
{
    return new Store('laravel_session', new CacheBasedSessionHandler(cache('session:'), 120), $id);
}

$session = session();
$session->start();
$session->put('cart', [['sku' => 'a-1', 'n' => 2]]);
$session->flash('status', 'saved');
$session->save();
$again = session($session->getId());
$again->start();
same([['sku' => 'a-1', 'n' => 2]], $again->get('cart'));
same('saved', $again->get('status'));
$again->invalidate();
$again->save();
$gone = session($session->getId());
$gone->start();
same(null, $gone->get('cart'));

echo "restart\n";
fgets(STDIN);
$cache = cache();
same($user, $cache->get('user:1'));
same(3, (int) $cache->get('visits'));
same(true, $cache->forget('user:1'));
same(false, $cache->has('user:1'));

// clears the database of the cache
same(true, $cache->flush());
same(null, $cache->get('order'));
echo "done\n";
