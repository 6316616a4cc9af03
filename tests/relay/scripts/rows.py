"""A training that says which rows it has logged, and when: `rows.py NUMBER BACKEND ...`."""

import sys
import time

import tracelet_otel as tracelet

INTERVAL_S = 0.2
PACE_S = 0.002

number, *backends = sys.argv[1:]
run = tracelet.start_logging("deaths", backend=backends, config={"export_interval": INTERVAL_S})
run.log_params({"lr": 0.1, "model": {"width": 7}})
run.set_tags({"team": "vision", "hundreds": ""})
run.set_note("of many rows")
print("ready", flush=True)
for step in range(int(number)):
    run.log_metric("loss", 1 / (step + 1), step)
    run.log_metric("a/b/c", step / 3, step)
    if backends == ["mlflow"]:
        run.log_metric("odd", float("nan") if step % 3 else float("inf"), step)
    if step % 100 == 0:
        run.set_tags({"hundreds": str(step // 100)})
    print(step, time.time(), flush=True)
    time.sleep(PACE_S)
run.stop()
assert run.errors == {}, run.errors
