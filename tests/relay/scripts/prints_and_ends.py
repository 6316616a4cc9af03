"""A run whose console is recorded: `prints_and_ends.py HOW`."""

import os
import signal
import sys

import tracelet_otel as tracelet

how, backends = sys.argv[1], sys.argv[2].split(",")
run = tracelet.start_logging("console", project="console", backend=backends, config={"export_interval": 0.1})
run.log_metric("loss", 1.0, 1)
for number in range(300):
    print("line", number)
print("the token is", os.environ["MY_TOKEN"], file=sys.stderr)
for number in range(100):
    print(f"\rstep {number}", end="", file=sys.stderr, flush=True)
print(file=sys.stderr)
print("WARNING:root:careful", file=sys.stderr, flush=True)
sys.stdout.flush()
if how == "fails":
    raise ValueError("a bug")
if how == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
