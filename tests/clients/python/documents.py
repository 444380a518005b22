"""What redis-py's client.json() does, in both protocols."""

import redis
from redis.commands.json.path import Path

from server import URL, done


def documents(protocol):
    client = redis.Redis.from_url(f"{URL}/{protocol}?protocol={protocol}", decode_responses=True)
    client.flushdb()
    store = client.json()

    # one in RESP3 where RESP2 has none: a list around the types
    def types(*answers):
        return list(answers) if protocol == 2 else [list(answers)]

    order = {"id": 17, "lines": [{"sku": "a-1", "n": 2}], "note": "Grüße", "paid": False, "total": 1.5}
    assert store.set("order", Path.root_path(), order) is True
    assert store.set("order", "$", order, nx=True) is None
    assert store.get("order") == order
    assert store.get("order", "$.lines[0].sku", "$.note") == {"$.lines[0].sku": ["a-1"], "$.note": ["Grüße"]}
    assert store.get("order", ".note") == "Grüße"
    assert store.get("missing") is None
    assert client.get("order").startswith('{"id":')

    assert store.type("order", "$.lines") == types("array")
    assert store.numincrby("order", "$.total", 2) == [3.5]
    assert client.execute_command("JSON.NUMMULTBY", "order", "$.lines[*].n", 2) == [4]
    assert store.toggle("order", "$.paid") == [1]
    assert store.strappend("order", "!", "$.note") == [8]
    assert store.strlen("order", "$.note") == [8]
    assert store.arrappend("order", "$.lines", {"sku": "b"}, {"sku": "c"}) == [3]
    assert store.arrinsert("order", "$.lines", 1, {"sku": "z"}) == [4]
    assert store.arrindex("order", "$.lines", {"sku": "b"}) == [2]
    assert store.arrlen("order", "$.lines") == [4]
    assert store.arrpop("order", "$.lines", -1) == ['{"sku":"c"}'], store.arrpop("order", "$.lines")
    assert store.arrtrim("order", "$.lines", 0, 1) == [2]
    assert store.objkeys("order", "$") == [["id", "lines", "note", "paid", "total"]]
    assert store.objlen("order", "$") == [5]
    assert store.merge("order", "$", {"paid": None, "by": {"name": "Ada"}}) is True
    assert store.get("order") == {
        "id": 17,
        "lines": [{"sku": "a-1", "n": 4}, {"sku": "z"}],
        "note": "Grüße!",
        "total": 3.5,
        "by": {"name": "Ada"},
    }
    assert store.mset([("a", "$", {"x": 1}), ("b", "$", {"x": 2})]) is True
    assert store.mget(["a", "missing", "b"], "$.x") == [[1], None, [2]]
    assert store.clear("order", "$.lines") == 1
    assert store.delete("order", "$.lines") == 1
    assert store.forget("order") == 1
    assert client.exists("order") == 0
    assert store.debug("MEMORY", "a") == len(client.get("a"))
    assert store.resp("a") == ["{", "x", 1]

    # atomic with others: a transaction, and counting from many sides
    with client.pipeline() as transaction:
        transaction.json().set("c", "$", {"n": 0})
        transaction.json().numincrby("c", "$.n", 5)
        transaction.json().get("c")
        assert transaction.execute()[-1] == {"n": 5}

    # errors are exceptions, and nothing changed
    for wrong, text in (
        (lambda: store.numincrby("missing", "$.n", 1), "doesn't exist"),
        (lambda: store.set("new", "$.x", 1), "must be created at the root"),
        (lambda: store.get("a", ".none"), "Path does not exist"),
        (lambda: store.get("a", "$[?"), "Error occurred on position"),
    ):
        try:
            wrong()
            raise AssertionError("no error was raised")
        except redis.ResponseError as error:
            assert text in str(error), error
    assert store.get("a") == {"x": 1}


documents(2)
documents(3)
done()
