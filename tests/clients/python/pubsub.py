"""Messages, notifications and the client-side cache of redis-py. tests/clients.rs restarts the server when asked to."""

import asyncio
import time

import redis
import redis.asyncio
from redis.cache import CacheConfig

from server import URL, done, restart

PATIENCE_S = 10


def next_message(pubsub):
    """The next message that is none of the confirmations."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        message = pubsub.get_message(ignore_subscribe_messages=True, timeout=0.1)
        if message is not None:
            return message["channel"], message["data"]
    raise AssertionError("no message came")


def receivers(client, channel, message, count):
    """Publishes until so many have heard it: a subscription takes a moment to be there."""
    end = time.monotonic() + PATIENCE_S
    while client.publish(channel, message) != count:
        assert time.monotonic() < end, "nobody subscribed"
        time.sleep(0.01)


def messages(protocol):
    client = redis.Redis.from_url(f"{URL}/{protocol}?protocol={protocol}", decode_responses=True)
    pubsub = client.pubsub()
    news = f"news:{protocol}"
    pubsub.subscribe(news)
    pubsub.psubscribe("weather:*")
    receivers(client, news, "hello", 1)
    assert next_message(pubsub) == (news, "hello")
    receivers(client, "weather:rome", "sun", 1)
    assert next_message(pubsub) == ("weather:rome", "sun")
    assert client.pubsub_numsub(news) == [(news, 1)]
    assert client.pubsub_numpat() == 1
    pubsub.punsubscribe()

    # a handler in a thread of its own
    heard = []
    listener = client.pubsub()
    listener.subscribe(tasks=lambda message: heard.append(message["data"]))
    thread = listener.run_in_thread(sleep_time=0.01)
    receivers(client, "tasks", "1", 1)
    while not heard:
        time.sleep(0.01)
    thread.stop()
    thread.join()
    assert heard == ["1"]

    # what happens to keys, and when
    client.config_set("notify-keyspace-events", "KEA")
    events = client.pubsub()
    events.psubscribe(f"__keyevent@{protocol}__:*")
    while client.pubsub_numpat() == 0:
        time.sleep(0.01)
    client.set("k", "1", px=50)
    channels = [next_message(events)[0].partition(":")[2] for _ in range(3)]
    assert channels == ["set", "expire", "expired"], channels
    events.close()
    client.config_set("notify-keyspace-events", "")
    return client, pubsub, news


async def asynchronous():
    client = redis.asyncio.Redis.from_url(URL, decode_responses=True)
    async with client.pubsub() as pubsub:
        await pubsub.subscribe("async")
        while await client.publish("async", "hello") != 1:
            await asyncio.sleep(0.01)
        async for message in pubsub.listen():
            if message["type"] == "message":
                assert message["data"] == "hello"
                break
    await client.aclose()


def cache():
    """A value comes from the client's memory until somebody changes it."""
    plain = redis.Redis.from_url(URL, decode_responses=True)
    plain.set("cached", "1")
    caching = redis.Redis.from_url(f"{URL}?protocol=3", decode_responses=True, cache_config=CacheConfig())
    assert caching.get("cached") == "1"
    assert plain.info("clients")["tracking_clients"] >= 1
    before = plain.info("commandstats")["cmdstat_get"]["calls"]
    assert [caching.get("cached") for _ in range(10)] == ["1"] * 10
    assert plain.info("commandstats")["cmdstat_get"]["calls"] == before
    plain.set("cached", "2")
    end = time.monotonic() + PATIENCE_S
    while caching.get("cached") != "2":
        assert time.monotonic() < end, "never told of the change"
    caching.close()
    plain.close()


pairs = [messages(2), messages(3)]
asyncio.run(asynchronous())
if "larder_version" in pairs[0][0].info("server"):
    # redis-py asks for Redis 7.4 at least
    cache()

# subscriptions come back after a restart
restart()
for client, pubsub, news in pairs:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            pubsub.get_message(timeout=0.1)
            if client.publish(news, "again"):
                break
        except redis.ConnectionError:
            pass
        assert time.monotonic() < end, "the subscription did not come back"
    assert next_message(pubsub) == (news, "again")
    pubsub.close()
done()
