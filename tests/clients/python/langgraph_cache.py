"""LangGraph's cache of the results of nodes, which are bytes of MessagePack."""

import redis
from langgraph.cache.redis import RedisCache

from server import ANY_URL, done, restart

client = redis.Redis.from_url(ANY_URL)
client.flushdb()
cache = RedisCache(client)

node, other = ("graph", "node"), ("graph", "other")
value = {"messages": ["Grüße", None, 1.5], "blob": b"\x00\xff"}
cache.set({(node, "a"): (value, 100), (node, "b"): (2, None), (other, "a"): (3, None)})
assert cache.get([(node, "a"), (node, "b"), (other, "a"), (other, "missing")]) == {
    (node, "a"): value,
    (node, "b"): 2,
    (other, "a"): 3,
}
assert 90 <= client.ttl("langgraph:cache:graph:node:a") <= 100
assert client.ttl("langgraph:cache:graph:node:b") == -1

restart()
assert cache.get([(node, "a")]) == {(node, "a"): value}

cache.clear([node])
assert cache.get([(node, "a"), (other, "a")]) == {(other, "a"): 3}
cache.set({(other, f"many:{index}"): (index, None) for index in range(1000)})
cache.clear()
assert client.dbsize() == 0
done()
