import tracelet_otel as tracelet

with tracelet.start_logging(config={"start_timeout": 120}) as run:
    run.log_metric("loss", 1.0, 0)
assert not run.errors, run.errors
