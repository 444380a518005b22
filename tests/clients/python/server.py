"""The server under test, as the test driver describes it to a script."""

import os
import sys

URL = os.environ["LARDER_URL"]
# for the caches: a store that takes JSON only, and one that takes any bytes
JSON_URL = f"{URL}/1"
ANY_URL = f"{URL}/2"
FEATURES = os.environ["LARDER_FEATURES"].split()

# no text in any encoding, and all that a careless protocol trips over
BINARY_KEY = b"\x00\xff\r\n \"'*\xfe"

COMPARE_AND_DELETE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end"


def url_as(user, password):
    """The URL for another user than the default one."""
    return f"redis://{user}:{password}@{URL.rsplit('@', 1)[1]}"


def restart():
    """Has the driver restart the server; returns when it listens again."""
    print("restart", flush=True)
    assert sys.stdin.readline(), "the driver is gone"


def done():
    print("done", flush=True)


class raises:
    """The body has to raise this error, with this text in it."""

    def __init__(self, kind, text=""):
        self.kind, self.text = kind, text

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        assert kind is not None, f"no {self.kind.__name__} was raised"
        return issubclass(kind, self.kind) and self.text in str(error)
