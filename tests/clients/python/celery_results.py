"""Celery's result back end, with a worker process: results as JSON in a store of JSON, as pickles in one of any bytes.

celery_results.py json|pickle. The broker is a folder, since a broker in Redis needs lists.
"""

import os
import subprocess
import sys
import tempfile
import time

from celery import Celery, group, states
from celery.exceptions import Ignore

from server import ANY_URL, FEATURES, JSON_URL, done, raises

SERIALIZER = os.environ.get("CELERY_SERIALIZER") or sys.argv[1]
FOLDER = os.environ.get("CELERY_FOLDER") or tempfile.mkdtemp()

app = Celery("celery_results", broker="filesystem://", backend={"json": JSON_URL, "pickle": ANY_URL}[SERIALIZER])
app.conf.update(
    broker_transport_options={
        "data_folder_in": FOLDER,
        "data_folder_out": FOLDER,
        "control_folder": FOLDER,
        "polling_interval": 0.02,
    },
    result_serializer=SERIALIZER,
    result_accept_content=[SERIALIZER],
    result_expires=100,
    task_track_started=True,
)


@app.task
def add(first, second):
    return first + second


@app.task
def fail(text):
    raise KeyError(text)


@app.task(bind=True, max_retries=1)
def second_time_lucky(self):
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    return "lucky"


@app.task(bind=True)
def progress(self):
    self.update_state(state="PROGRESS", meta={"done": 50})
    raise Ignore()


def everyday():
    assert add.delay(2, 40).get(timeout=60) == 42
    assert add.delay(["a"], ["ü"]).get(timeout=60) == ["a", "ü"]
    if SERIALIZER == "pickle":
        assert add.delay(b"\x00", b"\xff").get(timeout=60) == b"\x00\xff"

    failed = fail.delay("no such thing")
    with raises(KeyError, "no such thing"):
        failed.get(timeout=60)
    assert failed.state == states.FAILURE and "KeyError" in failed.traceback
    assert second_time_lucky.delay().get(timeout=60) == "lucky"

    running = progress.delay()
    while running.state != "PROGRESS":
        time.sleep(0.01)
    assert running.info == {"done": 50}

    many = group(add.s(index, index) for index in range(20)).apply_async()
    assert many.get(timeout=60) == [2 * index for index in range(20)]
    many.save()
    assert app.GroupResult.restore(many.id).get(timeout=60)[19] == 38
    many.forget()

    # results go after result_expires, or when they are forgotten
    result = add.delay(1, 1)
    result.get(timeout=60)
    assert 0 < app.backend.client.ttl(app.backend.get_key_for_task(result.id)) <= 100
    result.forget()
    assert app.AsyncResult(result.id).state == states.PENDING


def main():
    # a result is published as well as stored
    if "pubsub" not in FEATURES:
        return
    app.backend.client.flushdb()
    environment = dict(os.environ, CELERY_SERIALIZER=SERIALIZER, CELERY_FOLDER=FOLDER)
    command = "celery -A celery_results worker --pool solo --loglevel ERROR --without-gossip --without-mingle"
    with tempfile.TemporaryFile() as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", *command.split()],
            cwd=os.path.dirname(os.path.abspath(__file__)),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            everyday()
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace"))
            raise
        finally:
            worker.terminate()
            worker.wait()


if __name__ == "__main__":
    main()
    done()
