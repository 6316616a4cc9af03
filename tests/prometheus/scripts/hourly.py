"""A run that logs one value, and ends once there is a file `seen`."""

from pathlib import Path

from tests.support.waiting import wait_until

import tracelet_otel as tracelet

with tracelet.start_logging("hourly", "digits", "otlp", config={"export_interval": 0.5, "track_system": False}) as run:
    run.log_metric("val/loss", 0.25, 1)
    wait_until(Path("seen").exists, 240, "the file")
