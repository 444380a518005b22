"""What programs do with redis-py's asyncio client every day, in both protocols; as everyday.py does."""

import asyncio
import json

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, NoScriptError, ResponseError, WatchError

from server import BINARY_KEY, COMPARE_AND_DELETE, FEATURES, URL, done, raises, restart, url_as


async def everyday(protocol):
    # each protocol in a store of its own
    url = f"{URL}/{4 + protocol}?protocol={protocol}"
    retry = Retry(ExponentialBackoff(), 3)  # by default, what from_url makes does not try again
    client = redis.Redis.from_url(url, decode_responses=True, client_name="everyday", retry=retry)
    await client.flushdb()
    assert await client.ping()
    assert await client.client_getname() == "everyday"

    # JSON values and their deadlines
    text = json.dumps({"id": 17, "note": "Grüße", "paid": None})
    assert await client.set("order:17", text, ex=100) is True
    assert await client.get("order:17") == text
    assert 90 <= await client.ttl("order:17") <= 100
    assert await client.set("order:17", "1", nx=True) is None
    assert await client.getdel("order:17") == text
    await client.set("due", "1")
    assert await client.expireat("due", 1)
    assert await client.get("due") is None

    # a key of any bytes
    async with redis.Redis.from_url(url) as raw:
        assert await raw.set(BINARY_KEY, "[0]") is True
        assert [key async for key in raw.scan_iter()] == [BINARY_KEY]
        assert await raw.delete(BINARY_KEY) == 1

    # many at once: as tasks, as a pipeline, as a transaction that another client gets in the way of
    await asyncio.gather(*(client.set(f"key:{index}", json.dumps({"index": index})) for index in range(100)))
    async with client.pipeline(transaction=False) as pipeline:
        for index in range(100, 1000):
            pipeline.set(f"key:{index}", json.dumps({"index": index}))
        assert all(await pipeline.execute())
    async with client.pipeline() as transaction:
        transaction.set("counter", "41").incr("counter").get("counter")
        assert await transaction.execute() == [True, 42, "42"]
    async with client.pipeline() as transaction:
        await transaction.watch("counter")
        await client.set("counter", "5")
        transaction.multi()
        transaction.set("counter", "6")
        with raises(WatchError):
            await transaction.execute()
    assert await client.get("counter") == "5"

    # walking
    keys = [key async for key in client.scan_iter(match="key:*", count=100)]
    assert sorted(keys) == sorted(f"key:{index}" for index in range(1000)), len(keys)
    assert await client.dbsize() == 1001

    # errors are exceptions, and the connection lives on
    await client.set("text", json.dumps("not a number"))
    with raises(ResponseError, "not an integer"):
        await client.incr("text")
    with raises(ResponseError, "unknown command"):
        await client.execute_command("NONSENSE")
    assert await client.get("text") == '"not a number"'
    with raises(AuthenticationError):
        await redis.Redis.from_url(url_as("", "wrong"), protocol=protocol).ping()
    return client


async def subscribe(client, protocol):
    subscriber = client.pubsub(ignore_subscribe_messages=True)
    await subscriber.subscribe(f"async:{protocol}")
    await subscriber.psubscribe(f"async:{protocol}:*")
    # a subscription is in force once its confirmation has been read
    for _ in range(2):
        assert await subscriber.get_message(timeout=10) is None
    assert await client.publish(f"async:{protocol}", "one") == 1
    assert await client.publish(f"async:{protocol}:north", "two") == 1
    assert await next_message(subscriber) == ("message", f"async:{protocol}", "one")
    assert await next_message(subscriber) == ("pmessage", f"async:{protocol}:north", "two")
    await subscriber.aclose()


async def next_message(subscriber):
    while True:
        message = await subscriber.get_message(timeout=10)
        if message is not None:
            return message["type"], message["channel"], message["data"]


async def users(client, protocol):
    user = f"async{protocol}"
    assert await client.acl_setuser(
        user, enabled=True, passwords=["+open"], keys=["shop:*"], categories=["+@read", "+@write", "+@connection"]
    )
    async with redis.Redis.from_url(f"{url_as(user, 'open')}/{protocol}?protocol={protocol}") as shop:
        assert await shop.set("shop:1", "1")
        with raises(NoPermissionError, "key"):
            await shop.get("counter")
    assert await client.acl_deluser(user) == 1


async def scripts(client):
    compare_and_delete = client.register_script(COMPARE_AND_DELETE)
    await client.set("job", '"mine"')
    assert await compare_and_delete(keys=["job"], args=['"theirs"']) == 0
    assert await compare_and_delete(keys=["job"], args=['"mine"']) == 1
    with raises(NoScriptError):
        await client.evalsha("0" * 40, 0)


async def main():
    clients = []
    for protocol in (2, 3):
        client = await everyday(protocol)
        clients.append(client)
        if "pubsub" in FEATURES:
            await subscribe(client, protocol)
        if "acl" in FEATURES:
            await users(client, protocol)
        if "eval" in FEATURES:
            await scripts(client)

    # the same clients go on after a restart
    await asyncio.to_thread(restart)
    for client in clients:
        assert await client.get("key:7") == '{"index": 7}'
        assert await client.set("key:7", "7") is True
        await client.aclose()


asyncio.run(main())
done()
