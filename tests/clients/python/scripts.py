"""Published locks and rate limiters that work by Lua scripts: redis-py's Lock and Script, and `limits`; functions."""

import asyncio
import threading

import limits
import redis
import redis.asyncio
from redis.exceptions import LockError, NoScriptError, ResponseError

from server import ANY_URL, done


def refused(error, call, *args):
    try:
        call(*args)
    except error as raised:
        return str(raised)
    raise AssertionError(f"{call} succeeded")


def lock(client):
    mine, other = client.lock("lock", timeout=10), client.lock("lock", timeout=10)
    assert mine.acquire(blocking=False)
    assert not other.acquire(blocking=False)
    assert mine.extend(20) and client.pttl("lock") > 20_000
    assert mine.reacquire() and client.pttl("lock") <= 10_000
    refused(LockError, other.release)
    mine.release()
    assert client.exists("lock") == 0
    refused(LockError, mine.release)

    inside = []

    def work():
        for _ in range(10):
            with client.lock("busy", timeout=10, sleep=0.001):
                inside.append(1)
                assert len(inside) == 1
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def lock_asynchronously(url):
    client = redis.asyncio.Redis.from_url(url)
    async with client.lock("lock", timeout=10):
        assert not await client.lock("lock", timeout=10).acquire(blocking=False)
    assert await client.exists("lock") == 0
    await client.aclose()


def script(client):
    count = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert [count(keys=["count"], args=[2]) for _ in range(3)] == [2, 4, 6]
    client.script_flush()
    # it loads itself again
    assert count(keys=["count"], args=[1]) == 7
    assert client.script_exists(count.sha, "0" * 40) == [True, False]
    refused(NoScriptError, client.evalsha, "0" * 40, 0)
    assert "value is not an integer" in refused(ResponseError, count, ["count"], ["x"])
    with client.pipeline() as pipeline:
        count(keys=["count"], args=[1], client=pipeline)
        pipeline.get("count")
        assert pipeline.execute() == [8, b"8"]


LIBRARY = """#!lua name=counters
redis.register_function('count', function(keys, args) return redis.call('INCRBY', keys[1], args[1]) end)
redis.register_function{
    function_name = 'counted',
    callback = function(keys) return redis.call('GET', keys[1]) end,
    flags = {'no-writes'},
    description = 'what was counted',
}"""


def functions(client):
    client.delete("counted")
    assert client.function_load(LIBRARY, replace=True) in ("counters", b"counters")
    assert "already exists" in refused(ResponseError, client.function_load, LIBRARY)
    assert [client.fcall("count", 1, "counted", 2) for _ in range(2)] == [2, 4]
    assert client.fcall_ro("counted", 1, "counted") == b"4"
    assert "*_ro command" in refused(ResponseError, client.fcall_ro, "count", 1, "counted", 2)
    listed = repr(client.function_list(library="count*", withcode=True))
    assert "what was counted" in listed and "no-writes" in listed and "#!lua name=counters" in listed
    assert "running_script" in repr(client.function_stats())
    assert "No scripts in execution" in refused(ResponseError, client.function_kill)
    with client.pipeline() as pipeline:
        pipeline.fcall("count", 1, "counted", 1)
        pipeline.get("counted")
        assert pipeline.execute() == [5, b"5"]
    dumped = client.function_dump()
    assert client.function_delete("counters")
    assert client.function_restore(dumped, "APPEND")
    assert "already exists" in refused(ResponseError, client.function_restore, dumped)
    assert client.function_delete("counters")
    assert "Function not found" in refused(ResponseError, client.fcall, "count", 1, "counted", 2)
    assert client.function_flush("ASYNC") and client.function_list() == []


def limit(url):
    storage = limits.storage.storage_from_string(url)
    five = limits.parse("5/minute")
    for strategy in (limits.strategies.FixedWindowRateLimiter, limits.strategies.SlidingWindowCounterRateLimiter):
        limiter = strategy(storage)
        name = strategy.__name__
        assert limiter.test(five, name)
        assert [limiter.hit(five, name) for _ in range(7)] == [True] * 5 + [False] * 2
        assert limiter.get_window_stats(five, name).remaining == 0
        assert not limiter.test(five, name)
        limiter.clear(five, name)
        assert limiter.hit(five, name, cost=4) and not limiter.hit(five, name, cost=2)


for protocol in (2, 3):
    url = f"{ANY_URL}?protocol={protocol}"
    client = redis.Redis.from_url(url)
    client.flushdb()
    lock(client)
    asyncio.run(lock_asynchronously(url))
    script(client)
    functions(client)
    limit(url)
    client.close()

done()
