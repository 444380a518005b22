"""A data store as a dictionary: JSON values with an optional time to live, on top of redis-py.

    from data_store import DataStore

    store = DataStore("redis://127.0.0.1:6379", "orders")
    store["4711"] = {"total": 12.5, "lines": []}
    store.set("token", "abc", ttl=60)
    store.append("4711", "lines", {"sku": "a-1"})
    store.add("4711", "total", 2.5)
    for key, order in store.items():
        print(key, order)
"""

import json
from collections.abc import MutableMapping

import redis


class DataStore(MutableMapping):
    """A store of the server, by name or number. A store of this name is made if there is none.

    The store may be named by `store` or, a numbered one, by the URL ("redis://127.0.0.1:6379/12"); without either it is 0.
    """

    def __init__(self, url="redis://127.0.0.1:6379", store=None, page=500, **options):
        self.page = page
        in_url = redis.connection.parse_url(url).get("db")
        if store is not None and in_url is not None and str(store) != str(in_url):
            raise ValueError(f"the URL names store {in_url}, and 'store' is {store!r}: name one of them")
        self.store = str(store if store is not None else in_url or 0)
        if not (self.store.isascii() and self.store.isdigit()):
            with redis.Redis.from_url(url, **options) as client:
                try:
                    client.execute_command("STORE", "CREATE", self.store)
                except redis.ResponseError as error:
                    if not str(error).startswith("STOREEXISTS"):
                        raise
        # redis-py selects what it is given, number or name, on every connection it makes; a URL would come before `db`
        pool = redis.ConnectionPool.from_url(url, decode_responses=True, **options)
        pool.connection_kwargs["db"] = self.store
        self.client = redis.Redis(connection_pool=pool)

    # one record

    def __getitem__(self, key):
        text = self.client.get(key)
        if text is None:
            raise KeyError(key)
        return json.loads(text)

    def __setitem__(self, key, value):
        self.set(key, value)

    def __delitem__(self, key):
        if not self.client.delete(key):
            raise KeyError(key)

    def __contains__(self, key):
        return bool(self.client.exists(key))

    def set(self, key, value, ttl=None):
        """Sets a value; with a ttl it lasts so many seconds, without one for ever."""
        self.client.set(key, json.dumps(value), ex=ttl)

    def get_ttl(self, key):
        """Seconds that a record has left; None if it lasts for ever."""
        seconds = self.client.ttl(key)
        if seconds == -2:
            raise KeyError(key)
        return None if seconds == -1 else seconds

    def set_ttl(self, key, ttl):
        """Lets a record last so many seconds from now on; None: for ever."""
        if key not in self:
            raise KeyError(key)
        self.client.persist(key) if ttl is None else self.client.expire(key, ttl)

    # a part of a record, without reading it, and safe with others doing the same

    def part(self, key, path):
        """The value at a path within a record: `store.part("4711", "lines[0].sku")`."""
        return self.client.json().get(key, path)

    def set_part(self, key, path, value):
        return self.client.json().set(key, path, value)

    def add(self, key, path, number=1):
        """Adds to a number within a record; gives the sum."""
        return self.client.json().numincrby(key, path, number)

    def append(self, key, path, *values):
        """Appends to an array within a record; gives its length."""
        return self.client.json().arrappend(key, path, *values)

    # many records

    def get_many(self, keys):
        """The values of several keys, as of one instant, without those that are not there."""
        keys = list(keys)
        texts = self.client.mget(keys) if keys else []
        return {key: json.loads(text) for key, text in zip(keys, texts) if text is not None}

    def __iter__(self):
        return self.client.scan_iter(count=self.page)

    def items(self):
        """All records, read in pages."""
        cursor = "0"
        while True:
            cursor, page = self.client.execute_command(
                "STORE", "ENTRIES", self.store, "CURSOR", cursor, "COUNT", self.page
            )
            for key, text, _ in page:
                yield key, json.loads(text)
            if cursor == "0":
                return

    def values(self):
        return (value for _, value in self.items())

    def __len__(self):
        return self.client.dbsize()

    def clear(self):
        self.client.flushdb()

    def close(self):
        self.client.close()
        self.client.connection_pool.disconnect()
