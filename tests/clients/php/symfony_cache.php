<?php
// Symfony's cache and sessions, as its documentation shows them. The store takes any bytes, because Symfony serializes.

require_once 'Psr/SimpleCache/autoload.php';
require_once 'Symfony/Component/Cache/autoload.php';
require_once 'Symfony/Component/HttpFoundation/autoload.php';

use Symfony\Component\Cache\Adapter\RedisAdapter;
use Symfony\Component\Cache\Adapter\TagAwareAdapter;
use Symfony\Component\Cache\Psr16Cache;
use Symfony\Component\HttpFoundation\Session\Storage\Handler\RedisSessionHandler;
use Symfony\Contracts\Cache\ItemInterface;

function same(mixed $expected, mixed $found): void
{
    if ($expected !== $found) {
        throw new Exception('expected ' . var_export($expected, true) . ', found ' . var_export($found, true));
    }
}

function connect(): Redis
{
    return RedisAdapter::createConnection(getenv('LARDER_URL') . '/2');
}

function cache(string $namespace = 'app'): RedisAdapter
{
    return new RedisAdapter(connect(), $namespace, 3600);
}

$cache = cache();
$user = ['name' => 'Ada', 'langs' => ['en', 'fr'], 'note' => "caf\xc3\xa9 \x00 \xff"];

$computed = 0;
$compute = function (ItemInterface $item) use ($user, &$computed) {
    $item->expiresAfter(600);
    $computed++;
    return $user;
};
same($user, $cache->get('user.1', $compute));
same($user, $cache->get('user.1', $compute));
same(1, $computed);

$item = $cache->getItem('order');
same(false, $item->isHit());
$cache->save($item->set(12.5)->expiresAfter(1));
same(12.5, $cache->getItem('order')->get());
usleep(1_200_000);
same(false, $cache->hasItem('order'));

foreach (range(1, 50) as $number) {
    $cache->saveDeferred($cache->getItem("many.$number")->set(['n' => $number]));
}
same(true, $cache->commit());
$found = array_map(fn ($item) => $item->get(), iterator_to_array($cache->getItems(['many.1', 'many.50', 'many.51'])));
same(['many.1' => ['n' => 1], 'many.50' => ['n' => 50], 'many.51' => null], $found);
same(true, $cache->deleteItems(['many.1', 'many.2']));
same(false, $cache->hasItem('many.1'));

// PSR-16
$simple = new Psr16Cache($cache);
same(true, $simple->setMultiple(['x' => 1, 'y' => 'two'], 60));
same(['x' => 1, 'y' => 'two', 'z' => 'none'], iterator_to_array((function () use ($simple) {
    yield from $simple->getMultiple(['x', 'y', 'z'], 'none');
})()));

// tags that are versions; RedisTagAwareAdapter keeps them in sets
$tagged = new TagAwareAdapter(cache('tagged'));
foreach (['a' => ['red', 'round'], 'b' => ['red'], 'c' => ['blue']] as $key => $tags) {
    $tagged->get($key, function (ItemInterface $item) use ($key, $tags) {
        $item->tag($tags);
        return $key;
    });
}
$tagged->invalidateTags(['red']);
same([false, false, true], array_map(fn ($key) => $tagged->hasItem($key), ['a', 'b', 'c']));

// a namespace is cleared with SCAN, and only it
$other = cache('other');
$other->get('kept', fn () => 'kept');
same(true, $cache->clear('many.'));
same(false, $cache->hasItem('many.50'));
same(true, $cache->hasItem('user.1'));

$sessions = new RedisSessionHandler(connect(), ['prefix' => 'sess_', 'ttl' => 120]);
$id = 'f3a9c1';
same(true, $sessions->open('', 'PHPSESSID'));
same('', $sessions->read($id));
same(true, $sessions->write($id, 'cart|a:1:{i:0;s:3:"a-1";}'));
same('cart|a:1:{i:0;s:3:"a-1";}', $sessions->read($id));
same(true, $sessions->updateTimestamp($id, 'cart|a:1:{i:0;s:3:"a-1";}'));
same(true, connect()->ttl("sess_$id") > 100);

echo "restart\n";
fgets(STDIN);
same($user, cache()->get('user.1', fn () => throw new Exception('it is there')));
$sessions = new RedisSessionHandler(connect(), ['prefix' => 'sess_', 'ttl' => 120]);
same(true, $sessions->open('', 'PHPSESSID'));
same('cart|a:1:{i:0;s:3:"a-1";}', $sessions->read($id));
same(true, $sessions->destroy($id));
same(0, connect()->exists("sess_$id"));
same(true, cache()->clear());
same(false, cache()->hasItem('user.1'));
same(true, cache('other')->hasItem('kept'));
echo "done\n";
