"""A run that goes on until standard input is closed: prints its id."""

import sys

import tracelet_otel as tracelet

with tracelet.start_logging(config={"export_interval": 0.1}) as run:
    print(run.id, flush=True)
    sys.stdin.read()
    run.log_metric("value", 1.0, 1)
assert run.errors == {}, run.errors
