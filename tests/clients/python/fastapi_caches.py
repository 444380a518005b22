"""fastapi-cache2: endpoints and functions that are cached as JSON, with its own coder, or as pickles."""

import asyncio
import datetime

import httpx
import redis.asyncio as redis
from fastapi import FastAPI
from fastapi_cache import FastAPICache
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.coder import JsonCoder, PickleCoder
from fastapi_cache.decorator import cache
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from server import ANY_URL, JSON_URL, done, restart

calls = []
app = FastAPI()


@app.get("/item/{number}")
@cache(namespace="items", expire=100)
async def item(number: int):
    calls.append(number)
    return {"number": number, "name": "Grüße", "calls": len(calls)}


async def scenario(url, coder, value):
    client = redis.Redis.from_url(url)
    await client.flushdb()
    backend = RedisBackend(client)
    FastAPICache.reset()
    FastAPICache.init(backend, prefix="cache", coder=coder)
    calls.clear()

    # a function runs once for its arguments
    @cache(namespace="totals", expire=100)
    async def total(*numbers):
        calls.append(numbers)
        return {"total": sum(numbers), "value": value}

    first = await total(1, 2)
    assert await total(1, 2) == first == {"total": 3, "value": value}
    assert (await total(1, 3))["total"] == 4
    assert calls == [(1, 2), (1, 3)]
    assert await FastAPICache.clear(namespace="totals") is None
    await total(1, 2)
    assert calls == [(1, 2), (1, 3), (1, 2)]

    # what is behind it
    await backend.set("key", coder.encode(value), expire=100)
    ttl, kept = await backend.get_with_ttl("key")
    assert 90 <= ttl <= 100 and coder.decode(kept) == value
    assert await backend.clear(key="key") == 1 and await backend.get("key") is None
    assert list(await backend.get_with_ttl("missing")) == [-2, None]

    # a namespace with as many keys as a server gives at once is cleared, and the others stay
    await client.mset({f"cache:many:{index}": coder.encode(index) for index in range(1000)})
    await FastAPICache.clear(namespace="many")
    assert await client.keys("cache:many:*") == []
    assert len(await client.keys("cache:totals:*")) == 1
    await client.aclose()


async def endpoints():
    # without it, the first command after a restart fails, and the endpoint does not find what is cached
    client = redis.Redis.from_url(JSON_URL, retry=Retry(ExponentialBackoff(), 3))
    await client.flushdb()
    FastAPICache.reset()
    FastAPICache.init(RedisBackend(client), prefix="cache", coder=JsonCoder)
    calls.clear()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as web:
        first = await web.get("/item/7")
        assert first.headers["x-fastapi-cache"] == "MISS", first.headers
        second = await web.get("/item/7")
        assert second.headers["x-fastapi-cache"] == "HIT" and second.json() == first.json()
        assert second.headers["cache-control"].startswith("max-age=")
        fresh = await web.get("/item/7", headers={"cache-control": "no-store"})
        assert fresh.json()["calls"] == 2
        unchanged = await web.get("/item/7", headers={"if-none-match": second.headers["etag"]})
        assert unchanged.status_code == 304
        restart()
        assert (await web.get("/item/7")).json() == first.json()
    assert calls == [7, 7]
    await client.aclose()


asyncio.run(scenario(JSON_URL, JsonCoder, ["Grüße", 1.5, None, True]))
asyncio.run(scenario(ANY_URL, PickleCoder, {"blob": b"\x00\xff", "at": datetime.date(2024, 2, 29)}))
asyncio.run(endpoints())
done()
