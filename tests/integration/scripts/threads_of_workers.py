"""A training whose data is loaded by forked workers, which say the threads that they have."""

import json
import threading
from pathlib import Path

import lightning.pytorch as pl
from tests.support.trainings import Training, loader

import tracelet_otel as tracelet


def say(worker):
    Path(f"threads.{worker}").write_text(json.dumps([thread.name for thread in threading.enumerate()]))


workers = {"num_workers": 2, "multiprocessing_context": "fork", "worker_init_fn": say}
with tracelet.start_logging(config={"track_system": True, "metrics_interval": 0.05, "export_interval": 0.05}):
    Training({"max_epochs": 1}, run=lambda trainer, module: trainer.fit(module, loader(64, **workers), loader(16)))(
        pl, False
    )
