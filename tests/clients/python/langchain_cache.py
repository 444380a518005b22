"""langchain-redis: answers of models are cached as JSON documents. What needs an index is refused."""

from langchain_core.caches import BaseCache
from langchain_core.globals import set_llm_cache
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.outputs import Generation
from langchain_redis import RedisCache, RedisChatMessageHistory
from redis import Redis
from redisvl.exceptions import RedisSearchError

from server import JSON_URL, done, raises, restart

client = Redis.from_url(JSON_URL)
client.flushdb()
cache = RedisCache(redis_url=JSON_URL, ttl=100, prefix="answers")
assert isinstance(cache, BaseCache)

# the cache itself
assert cache.lookup("question", "model") is None
cache.update("question", "model", [Generation(text="Grüße"), Generation(text="another")])
assert [found.text for found in cache.lookup("question", "model")] == ["Grüße", "another"]
[key] = client.scan_iter("answers:*")
assert 90 <= client.ttl(key) <= 100
assert client.json().get(key, "$[0].kwargs.text") == ["Grüße"]
assert cache.lookup("question", "another model") is None

# models answer the same question once
set_llm_cache(cache)
for model in [FakeListLLM(responses=["one", "two"]), FakeListChatModel(responses=["one", "two"])]:
    first = model.invoke("What is cached?")
    again = model.invoke("What is cached?")
    assert getattr(first, "content", first) == getattr(again, "content", again) == "one"
    other = model.invoke("And this?")
    assert getattr(other, "content", other) == "two"

restart()
assert cache.lookup("question", "model")[0].text == "Grüße"
client.mset({f"answers:many:{index}": "[]" for index in range(1500)})
client.set("other", "1")
cache.clear()
assert cache.lookup("question", "model") is None
assert client.dbsize() == 1

# histories, vectors and semantic caches look for things with RediSearch
with raises(RedisSearchError, "Larder has no search index"):
    RedisChatMessageHistory("session", redis_url=JSON_URL)
done()
