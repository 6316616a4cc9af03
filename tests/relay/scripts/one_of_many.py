"""A worker of many that start their runs in the same moment.

Its arguments are its number and the directory in which the workers wait for each other.
"""

import sys
import time
from pathlib import Path

import tracelet_otel as tracelet

number, gate = int(sys.argv[1]), Path(sys.argv[2])
(gate / f"ready-{number}").touch()
while not (gate / "go").exists():
    time.sleep(0.005)
# How fast a machine is, is not tested.
with tracelet.start_logging(exp_name=f"worker {number}", config={"start_timeout": 200}) as run:
    for step in range(20):
        run.log_metric("value", number + step / 100, step)
assert not run.errors, run.errors
print(run.id)
