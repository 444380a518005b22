"""aiocache: a cache of JSON or of pickles, cached functions, optimistic and other locks."""

import asyncio
import datetime
from urllib.parse import urlsplit

from aiocache import Cache, cached
from aiocache.lock import OptimisticLock, OptimisticLockError, RedLock
from aiocache.serializers import JsonSerializer, PickleSerializer
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from server import ANY_URL, JSON_URL, done, raises, restart


def options(url, serializer):
    address = urlsplit(url)
    return {
        "endpoint": address.hostname,
        "port": address.port,
        "password": address.password,
        "db": address.path[1:],
        "serializer": serializer,
        # without it, the first command after a restart fails
        "connection_pool_kwargs": {"retry": Retry(ExponentialBackoff(), 3)},
    }


def cache_at(url, serializer, **more):
    return Cache(Cache.REDIS, **options(url, serializer), **more)


async def scenario(url, serializer, value):
    cache = cache_at(url, serializer, namespace="app")
    await cache_at(url, serializer).clear()

    assert await cache.set("key", value)
    assert await cache.get("key") == value
    assert await cache.get("missing", default="none") == "none"
    assert await cache.add("new", value, ttl=100)
    with raises(ValueError, "already exists"):
        await cache.add("new", 1)
    assert 90 <= await cache.raw("ttl", "app:new") <= 100
    assert await cache.expire("new", 0) and await cache.raw("ttl", "app:new") == -1
    assert await cache.multi_set([("a", 1), ("b", [2])], ttl=100.5)
    assert await cache.multi_get(["a", "b", "missing"]) == [1, [2], None]
    assert await cache.exists("a") and await cache.delete("a") == 1 and not await cache.exists("a")
    assert await cache.increment("hits", 2) == 2 and await cache.increment("hits") == 3
    with raises(TypeError, "not an integer"):
        await cache.increment("key")

    # a function runs once for its arguments
    calls = []

    @cached(cache=Cache.REDIS, namespace="calls", ttl=100, **options(url, serializer))
    async def work(*words):
        calls.append(words)
        return {"words": list(words), "value": value}

    assert await work("one") == await work("one") == {"words": ["one"], "value": value}
    await work("two")
    assert calls == [("one",), ("two",)]

    await cache.set("key", "from elsewhere")

    # a namespace is cleared alone if it is named
    other = cache_at(url, serializer, namespace="other")
    await other.multi_set([(f"many:{index}", index) for index in range(1000)])
    await other.clear(namespace="other")
    assert await other.get("many:7") is None
    assert await cache.get("key") == "from elsewhere"

    restart()
    assert await cache.get("key") == "from elsewhere"
    await cache_at(url, serializer).clear()
    assert await cache.get("key") is None


async def compare_and_set():
    """As a script. With pickles, aiocache itself fails."""
    cache = cache_at(JSON_URL, JsonSerializer(), namespace="app")
    await cache.set("key", "first")
    async with OptimisticLock(cache, "key") as lock:
        await lock.cas("changed", ttl=100)
    assert await cache.get("key") == "changed"
    lock = OptimisticLock(cache, "key")
    await lock._acquire()
    await cache.set("key", "from elsewhere")
    with raises(OptimisticLockError):
        await lock.cas("lost")
    assert await cache.get("key") == "from elsewhere"


async def locks():
    """Their tokens are no JSON."""
    cache = cache_at(ANY_URL, PickleSerializer(), namespace="locks")

    async def wait_and_see():
        async with RedLock(cache, "turn", lease=60):
            return await cache.get("result")

    async with RedLock(cache, "turn", lease=60):
        assert 50 <= await cache.raw("ttl", "locks:turn-lock") <= 60
        waiting = [asyncio.create_task(wait_and_see()) for _ in range(5)]
        await asyncio.sleep(0)
        await cache.set("result", "found")
    assert await asyncio.gather(*waiting) == ["found"] * 5
    assert not await cache.exists("turn-lock")


async def main():
    await scenario(JSON_URL, JsonSerializer(), ["Grüße", 1.5, None, True])
    await scenario(ANY_URL, PickleSerializer(), {"blob": b"\x00\xff", "at": datetime.date(2024, 2, 29)})
    await compare_and_set()
    await locks()


asyncio.run(main())
done()
