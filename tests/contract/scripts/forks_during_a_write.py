"""Forks while a thread writes to an MLflow store, as a pool of workers may: `forks_during_a_write.py STORE`.

The child writes a run of its own to the same store.
"""

import os
import sys
import threading

import tracelet_otel as tracelet
from tracelet_otel.exporters.mlflow.address import database_lock

store = sys.argv[1]
forked = threading.Event()
holds = threading.Event()


def write() -> None:
    with database_lock(store):
        holds.set()
        forked.wait(60)


writing = threading.Thread(target=write)
writing.start()
holds.wait(60)
child = os.fork()
if child == 0:
    with tracelet.start_logging("child", config={"relay": False, "track_system": False, "backend_url": store}) as run:
        run.log_metric("loss", 1.0, 0)
    os._exit(0)
forked.set()
writing.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
