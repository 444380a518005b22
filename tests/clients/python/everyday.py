"""What programs do with redis-py every day, in both protocols. tests/clients.rs restarts the server when asked to."""

import asyncio
import json
import os
import sys

import redis
import redis.asyncio

URL = os.environ["LARDER_URL"]


def everyday(protocol):
    # each protocol in a store of its own
    client = redis.Redis.from_url(f"{URL}/{protocol}?protocol={protocol}", decode_responses=True, client_name="everyday")
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
        redis.Redis.from_url(f"{URL}/{protocol}").set("key:0", "5")
        transaction.multi()
        transaction.set("key:0", "6")
        try:
            transaction.execute()
            raise AssertionError("the transaction was not aborted")
        except redis.WatchError:
            pass
    assert client.get("key:0") == "5"

    # walking
    keys = sorted(client.scan_iter(match="key:*", count=100))
    assert keys == sorted(f"key:{index}" for index in range(1000)), len(keys)
    assert client.dbsize() == 1001

    # errors are exceptions, and the connection lives on
    client.set("text", json.dumps("not a number"))
    for wrong in (
        lambda: client.incr("text"),
        lambda: client.execute_command("NONSENSE"),
        lambda: client.execute_command("GET"),
    ):
        try:
            wrong()
            raise AssertionError("no error was raised")
        except redis.ResponseError:
            pass
    assert client.get("text") == '"not a number"'

    # stores do not see each other
    other = redis.Redis.from_url(f"{URL}?protocol={protocol}", db=5)
    assert other.get("text") is None
    other.close()

    assert client.info("server")["tcp_port"] == int(URL.rsplit(":", 1)[1])
    assert client.config_get("timeout") == {"timeout": "0"}
    return client


async def asynchronous():
    client = redis.asyncio.Redis.from_url(f"{URL}/4", decode_responses=True)
    await asyncio.gather(*(client.set(f"async:{index}", index) for index in range(100)))
    keys = [key async for key in client.scan_iter(match="async:*")]
    assert len(keys) == 100
    await client.aclose()


clients = [everyday(2), everyday(3)]
asyncio.run(asynchronous())

# the same clients go on after a restart
print("restart", flush=True)
sys.stdin.readline()
for client in clients:
    assert client.get("key:7") == '{"index": 7}'
    assert client.set("key:7", "7") is True
print("done", flush=True)
