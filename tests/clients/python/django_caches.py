"""Django's own Redis cache and django-redis: pickles in a store of any bytes, JSON in a store of JSON."""

import datetime
import json

import django
from django.conf import settings

from server import ANY_URL, FEATURES, JSON_URL, done, raises


class JsonSerializer:
    """What Django's own back end needs to write JSON."""

    def dumps(self, value):
        return json.dumps(value).encode()

    def loads(self, data):
        return json.loads(data)


DJANGO = "django.core.cache.backends.redis.RedisCache"
DJANGO_REDIS = "django_redis.cache.RedisCache"

settings.configure(
    CACHES={
        "default": {"BACKEND": DJANGO, "LOCATION": ANY_URL, "KEY_PREFIX": "own"},
        "own-json": {
            "BACKEND": DJANGO,
            "LOCATION": JSON_URL,
            "KEY_PREFIX": "own",
            "OPTIONS": {"serializer": JsonSerializer()},
        },
        "package": {"BACKEND": DJANGO_REDIS, "LOCATION": ANY_URL, "KEY_PREFIX": "package"},
        "package-json": {
            "BACKEND": DJANGO_REDIS,
            "LOCATION": JSON_URL,
            "KEY_PREFIX": "package",
            "OPTIONS": {"SERIALIZER": "django_redis.serializers.json.JSONSerializer"},
        },
    },
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
)
django.setup()

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402
from django.core.cache import caches  # noqa: E402


def everyday(cache, counts_by_script):
    cache.clear()
    value = {"name": "Ada", "langs": ["en", "fr"], "age": None, "score": 1.5, "note": "Grüße"}
    cache.set("user:1", value, timeout=100)
    assert cache.get("user:1") == value
    assert cache.get("missing", "default") == "default"
    assert cache.has_key("user:1") and "missing" not in cache
    assert cache.add("user:1", "other") is False
    assert cache.add("user:2", [2]) is True
    assert cache.touch("user:2", 0) is True
    assert cache.get("user:2") is None
    assert cache.get_or_set("made", lambda: "here", 100) == "here"

    # flags of both kinds, and what falls between absent and empty
    for value in (True, False, None, 0, -7, "", "text", [], {}):
        cache.set("value", value)
        assert cache.get("value", "absent") == value, value

    assert cache.set_many({f"many:{index}": index for index in range(100)}, timeout=100) in ([], None)
    assert cache.get_many(["many:1", "many:99", "missing"]) == {"many:1": 1, "many:99": 99}
    cache.delete_many([f"many:{index}" for index in range(50)])
    assert cache.get("many:49") is None and cache.get("many:50") == 50

    if "eval" in FEATURES or not counts_by_script:
        cache.set("visits", 40)
        assert cache.incr("visits", 2) == 42
        assert cache.decr("visits") == 41
        with raises(ValueError):
            cache.incr("missing")

    cache.set("versioned", "one", version=1)
    cache.incr_version("versioned")
    assert cache.get("versioned") is None and cache.get("versioned", version=2) == "one"
    assert cache.delete("user:1") is True
    assert cache.delete("user:1") is False


def beyond_the_interface(cache):
    """What django-redis has on top."""
    cache.set("page:1", "one", timeout=100)
    cache.set("page:2", "two", timeout=None)
    assert 90 <= cache.ttl("page:1") <= 100 and cache.ttl("page:2") is None
    assert cache.expire("page:2", 100) and cache.persist("page:1")
    assert sorted(cache.keys("page:*")) == sorted(cache.iter_keys("page:*")) == ["page:1", "page:2"]
    assert cache.delete_pattern("page:*") == 2
    assert cache.set("once", 1, nx=True) and not cache.set("once", 2, nx=True)


def sessions():
    session = SessionStore()
    session["cart"] = [17]
    session.set_expiry(100)
    session.create()
    assert SessionStore(session.session_key)["cart"] == [17]
    session.flush()
    assert SessionStore(session.session_key).load() == {}


for name, counts_by_script in (("default", False), ("own-json", False), ("package", True), ("package-json", True)):
    everyday(caches[name], counts_by_script)
for name in ("package", "package-json"):
    beyond_the_interface(caches[name])
for name in ("default", "package"):
    moment = datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc)
    caches[name].set("object", {moment: {1, 2}, "blob": b"\x00\xff"})
    assert caches[name].get("object") == {moment: {1, 2}, "blob": b"\x00\xff"}
sessions()
if "eval" in FEATURES:
    # a lock's token is no JSON
    with caches["package"].lock("lock", timeout=100):
        assert not caches["package"].lock("lock", blocking_timeout=0).acquire()
for cache in caches.all():
    cache.clear()
    assert cache.get("made") is None
done()
