"""A training that says which modules were imported by another thread than its own: `imports_of_threads.py BACKENDS`.

We are there before torch and Lightning, so that nothing has been imported for us.
"""

import importlib
import json
import sys
import threading
from pathlib import Path

imported = []


def hear(event, arguments):
    if event == "import" and threading.current_thread() is not threading.main_thread():
        imported.append((threading.current_thread().name, arguments[0]))


sys.addaudithook(hear)
if sys.argv[1:]:
    tracelet = importlib.import_module("tracelet_otel")
    config = {"track_system": True, "track_environment": True, "metrics_interval": 0.05, "export_interval": 0.05}
    tracelet.start_logging(backend=sys.argv[1], config=config)
pl = importlib.import_module("lightning.pytorch")
trainings = importlib.import_module("tests.support.trainings")
trainings.Training()(pl, False)
if sys.argv[1:]:
    run = tracelet.get_active_run()
    tracelet.stop_logging()
    assert not run.errors, run.errors
Path("imported.json").write_text(json.dumps(imported))
