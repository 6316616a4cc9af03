import os
import sys

import tracelet_otel as tracelet

run = tracelet.start_logging(config={"export_interval": 0.01})
run.log_metric("loss", 1.0, 0)
pid = os.fork()
if pid == 0:
    assert tracelet.get_active_run() is None
    run.log_metric("loss", 2.0, 0)
    tracelet.stop_logging()
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
run.log_metric("loss", 3.0, 1)
