"""The dictionary of examples/python does what it says."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "python"))
from data_store import DataStore
from server import URL, done

# one target, whether the URL or the argument names it
for url, store in ((URL, 12), (f"{URL}/12", None), (f"{URL}/12", 12), (f"{URL}?db=12", "12"), (URL, "1e3"), (URL, "0x11")):
    named = DataStore(url, store)
    named["only here"] = 1
    assert dict(named.items()) == {"only here": 1} and list(named) == ["only here"] and len(named) == 1, (url, store)
    others = DataStore(URL)
    assert "only here" not in others
    others["kept"] = 1
    named.clear()
    assert len(named) == 0 and others["kept"] == 1
    others.clear()
    named.close()
try:
    DataStore(f"{URL}/12", "orders")
    raise AssertionError("no error was raised")
except ValueError as error:
    assert "name one of them" in str(error)

for options in ({"store": "orders"}, {"store": "orders", "protocol": 3}, {"store": 5, "page": 7}):
    store = DataStore(URL, **options)
    store.clear()
    assert len(store) == 0 and "a" not in store and store.get("a") is None
    for value in (0, "", False, None, [], {"nested": [1.5, "ü"]}):
        store["a"] = value
        assert store["a"] == value and "a" in store
    assert store.get_ttl("a") is None
    store.set("b", 1, ttl=100)
    assert 90 <= store.get_ttl("b") <= 100
    store.set_ttl("b", None)
    assert store.get_ttl("b") is None
    store.set_ttl("b", 50)
    assert store.get_ttl("b") <= 50
    del store["b"]
    for missing in (lambda: store["b"], lambda: store.get_ttl("b"), lambda: store.__delitem__("b")):
        try:
            missing()
            raise AssertionError("no error was raised")
        except KeyError:
            pass
    assert store.pop("a") == {"nested": [1.5, "ü"]}
    assert store.setdefault("a", 7) == 7

    # many records, and pages of them
    store.update({f"key:{index}": {"index": index} for index in range(30)})
    assert len(store) == 31
    assert dict(store.items()) == {"a": 7} | {f"key:{index}": {"index": index} for index in range(30)}
    assert sorted(store) == sorted(store.keys()) and len(list(store)) == 31
    assert store.get_many(["key:1", "none", "a"]) == {"key:1": {"index": 1}, "a": 7}

    # parts of a record, from many sides at once
    store["count"] = {"n": 0, "seen": []}
    with ThreadPoolExecutor(8) as threads:
        for index in range(100):
            threads.submit(store.add, "count", "$.n", 2)
            threads.submit(store.append, "count", "$.seen", index)
    assert store.part("count", "n") == 200
    assert sorted(store.part("count", "seen")) == list(range(100))
    assert store.set_part("count", "$.n", "none") and store.part("count", ".n") == "none"
    store.clear()
    assert list(store.items()) == []
    store.close()
done()
