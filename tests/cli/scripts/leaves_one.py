"""A training that logs a value, two more when it is told to, and waits to be killed."""

import sys

import tracelet_otel as tracelet

run = tracelet.start_logging("left", config={"export_interval": 0.1})
run.log_metric("loss", 1.0, 0)
print(run.id, flush=True)
sys.stdin.readline()
for step in (1, 2):
    run.log_metric("loss", 1.0 / step, step)
sys.stdin.read()
