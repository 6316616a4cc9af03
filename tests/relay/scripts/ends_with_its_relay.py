"""A training that tells its relay to finish, and ends: `ends_with_its_relay.py NUMBER`."""

import sys
from pathlib import Path

from tests.support.relays import relays

import tracelet_otel as tracelet

number = int(sys.argv[1])
run = tracelet.start_logging("together", config={"export_interval": 0.1})
for step in range(number):
    run.log_metric("loss", 1 / (step + 1), step)
(relay,) = relays(Path.cwd())
relay.terminate()
run.stop()
assert run.errors == {}, run.errors
assert run.accounts["mlflow"].delivered == number
