"""A training whose rows are all queued still when it ends: `all_at_the_end.py NUMBER`."""

import sys

import tracelet_otel as tracelet

number = int(sys.argv[1])
with tracelet.start_logging("long", config={"export_interval": 1000, "stop_timeout": 120}) as run:
    for step in range(number):
        run.log_metric("loss", 1 / (step + 1), step)
assert run.errors == {}, run.errors
assert run.accounts["mlflow"].delivered == number
