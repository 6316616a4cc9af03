"""A run that logs one value, and ends once there is a file `seen`."""

import time
from pathlib import Path

import tracelet_otel as tracelet

with tracelet.start_logging("hourly", "digits", "otlp", config={"export_interval": 0.5, "track_system": False}) as run:
    run.log_metric("val/loss", 0.25, 1)
    while not Path("seen").exists():
        time.sleep(0.05)
