"""Flask-Caching: cached views and functions in a store of any bytes, where it writes pickles."""

import datetime

from flask import Flask
from flask_caching import Cache

from server import ANY_URL, done

app = Flask(__name__)
# without a prefix, clearing flushes the store instead of asking for all keys, of which a server gives 1,024 at most
config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": ANY_URL, "CACHE_KEY_PREFIX": "", "CACHE_DEFAULT_TIMEOUT": 100}
cache = Cache(app, config=config)
calls = []


@app.route("/page/<name>")
@cache.cached(query_string=True)
def page(name):
    calls.append(name)
    return f"<p>{name}, {len(calls)}</p>"


@cache.memoize(timeout=100)
def total(*numbers):
    calls.append(numbers)
    return {"total": sum(numbers), "at": datetime.date(2024, 2, 29)}


with app.app_context():
    cache.clear()

    # a view runs once for each of its addresses
    client = app.test_client()
    first = client.get("/page/one?lang=en").text
    assert client.get("/page/one?lang=en").text == first
    assert client.get("/page/one?lang=fr").text != first
    assert calls == ["one", "one"]

    # a function runs once for its arguments, until that is forgotten
    calls.clear()
    assert total(1, 2) == total(1, 2) == {"total": 3, "at": datetime.date(2024, 2, 29)}
    assert total(1, 3)["total"] == 4
    assert calls == [(1, 2), (1, 3)]
    cache.delete_memoized(total, 1, 2)
    total(1, 2)
    total(1, 3)
    assert calls == [(1, 2), (1, 3), (1, 2)]

    # the cache itself
    assert cache.set("key", {"blob": b"\x00\xff", "none": None})
    assert cache.get("key") == {"blob": b"\x00\xff", "none": None}
    assert cache.add("key", 1) is False
    assert cache.has("key") and not cache.has("missing")
    assert set(cache.set_many({"a": 1, "b": True, "c": "text"})) == {"a", "b", "c"}
    assert cache.get_many("a", "b", "c", "missing") == [1, True, "text", None]
    assert cache.delete("a") and cache.get("a") is None
    assert cache.delete_many("b", "c")
    assert cache.cache.inc("hits", 2) == 2 and cache.get("hits") == 2
    cache.set_many({f"many:{index}": index for index in range(2000)})
    assert cache.clear()
    assert cache.get("key") is None
done()
