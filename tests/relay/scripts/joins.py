"""A training that joins a relay: `joins.py CONFIG ROWS`."""

import json
import sys

import tracelet_otel as tracelet

config, number = sys.argv[1:]
described = {"tags": {"stage": "begins", "team": "vision"}, "notes": "joins", "group": "guests", "job_type": "log"}
with tracelet.start_logging("there", config={**json.loads(config), **described}) as run:
    run.log_params({"lr": 0.5})
    for step in range(int(number)):
        run.log_metric("loss", -step, step)
    run.set_tags({"stage": "ends"})
