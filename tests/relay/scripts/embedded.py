"""A run without a relay process: `embedded.py ROWS`. It logs, forks a child that ends in order, and goes on.

Prints a line for each row that has been logged, and waits at the end until its input ends.
"""

import gc
import os
import sys

import tracelet_otel as tracelet

rows = int(sys.argv[1])
run = tracelet.start_logging("embedded", config={"relay": False, "export_interval": 0.05, "track_system": False})
run.log_params({"lr": 0.1})
for step in range(rows):
    run.log_metric("loss", 1 / (step + 1), step)
    if step == rows // 2:
        child = os.fork()
        if child == 0:
            # All that the child has a copy of is freed.
            del run
            tracelet.api._active = None
            gc.collect()
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
    print(step, flush=True)
sys.stdin.read()
