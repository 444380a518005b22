"""Stores the records of a file, or checks that a store holds them, with redis-py.

records.py load|check FILE DB: each line of the file is a JSON object of "key" and "value", both strings.
"""

import json
import os
import sys

import redis

action, path, db = sys.argv[1:]
client = redis.Redis.from_url(os.environ["LARDER_URL"], db=int(db), decode_responses=True)
with open(path, encoding="utf-8") as file:
    records = [json.loads(line) for line in file]

for start in range(0, len(records), 500):
    page = records[start : start + 500]
    with client.pipeline(transaction=False) as pipeline:
        for record in page:
            if action == "load":
                pipeline.set(record["key"], record["value"])
            else:
                pipeline.get(record["key"])
        replies = pipeline.execute()
    for record, reply in zip(page, replies):
        expected = True if action == "load" else record["value"]
        assert reply == expected, (record["key"], reply)

assert client.dbsize() == len(records), client.dbsize()
assert set(client.scan_iter(count=1000)) == {record["key"] for record in records}
print(f"{action}: {len(records)} records")
