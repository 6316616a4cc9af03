"""A training that is killed with its relay while MLflow's database takes nothing: `leaves_rows.py NUMBER`."""

import os
import signal
import sqlite3
import sys
from pathlib import Path

from tests.support.relays import relays
from tests.support.waiting import wait_until

import tracelet_otel as tracelet

number = int(sys.argv[1])
run = tracelet.start_logging("left", config={"export_interval": 0.1})
# SQLite has one writer.
other = sqlite3.connect("mlflow.db", isolation_level=None)
other.execute("BEGIN IMMEDIATE")
for step in range(number):
    run.log_metric("loss", step / 3, step)
wait_until(lambda: run.accounts["mlflow"].pending == number, 30, "that the relay has all rows")
(relay,) = relays(Path.cwd())
relay.kill()
os.kill(os.getpid(), signal.SIGKILL)
