"""A rank that logs a file of its own, and ends at once."""

import os

import tracelet_otel as tracelet

run = tracelet.start_logging("ranks", project="files", config={"export_interval": 0.1})
run.log_metric("loss", 1.0, 1)
run.log_text(f"of rank {os.environ['RANK']}", "text")
run.stop()
print(run.errors)
