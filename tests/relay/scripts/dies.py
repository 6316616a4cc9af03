"""A training that dies and does not report it: `dies.py HOW`. Once its rows are on the way, it waits for the relay."""

import ctypes
import faulthandler
import os
import signal
import sys
from pathlib import Path

from tests.support.relays import relays
from tests.support.waiting import wait_until

import tracelet_otel as tracelet

if os.environ.get("FAULTHANDLER"):
    faulthandler.enable()
run = tracelet.start_logging("dies", config={"export_interval": 0.1, "notes": "of mine"})
run.log_metric("loss", 0.5, 0)
wait_until(lambda: run.accounts["mlflow"].delivered == 1, 30, "that the relay has the row")
if os.environ.get("RELAY"):
    (first,) = relays(Path.cwd())
    first.kill()
    wait_until(lambda: {one.pid for one in relays(Path.cwd())} - {first.pid}, 30, "the next relay")


def die(how: str) -> None:
    if how == "segfault":
        ctypes.string_at(0)
    elif how == "abort":
        os.abort()
    elif how == "memory":
        filled = []
        while True:
            filled.append(bytearray(10_000_000))
    elif how == "exit":
        os._exit(3)
    else:
        os.kill(os.getpid(), getattr(signal, how))


die(sys.argv[1])
