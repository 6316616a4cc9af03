"""A training that joins a relay: `joins.py CONFIG ROWS`."""

import json
import sys

import tracelet_otel as tracelet

config, number = sys.argv[1:]
with tracelet.start_logging("there", config=json.loads(config)) as run:
    run.log_params({"lr": 0.5})
    for step in range(int(number)):
        run.log_metric("loss", -step, step)
