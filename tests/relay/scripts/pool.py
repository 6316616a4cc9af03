"""Many trainings at once, each a child run in a process of its own: `pool.py CONFIG CHILDREN ROWS`."""

import json
import os
import sys

import tracelet_otel as tracelet

config, children, rows = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])


def train(number: int) -> int:
    with tracelet.start_logging(f"child {number}", config=config) as run:
        for step in range(rows):
            run.log_metric("loss", number * 1000 + step / 7, step)
    return int(run.errors != {} or run.accounts["mlflow"].delivered != rows)


pids = []
for number in range(children):
    pid = os.fork()
    if not pid:
        code = 2
        try:
            code = train(number)
        finally:
            os._exit(code)
    pids.append(pid)
sys.exit(sum(bool(os.waitpid(pid, 0)[1]) for pid in pids))
