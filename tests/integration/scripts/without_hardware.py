"""A run without a training, beside a GPU: `without_hardware.py yes` measures it and the host, `no` does not."""

import sys
import threading

from tests.gpu.stand_in import preload

import tracelet_otel as tracelet

preload()
with tracelet.start_logging("short", backend="mlflow", config={"track_system": sys.argv[1] == "yes"}) as run:
    run.log_metric("loss", 0.5, 1)
    print([one.name for one in threading.enumerate() if "hardware" in one.name], "pynvml" in sys.modules)
