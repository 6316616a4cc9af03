"""Warns where a worker process trains, which is not recorded.

Such a worker was started by `multiprocessing`, with `spawn` or `forkserver`, from a process that has a run.
"""

from __future__ import annotations

import sys

from wrapt import register_post_import_hook

from tracelet_otel._support.private_names import LIGHTNING
from tracelet_otel._support.spawned import is_interpreter_of_multiprocessing


def say_if_worker_trains() -> None:
    """Warn when this process trains, if it is such a worker and has not called `start_logging`."""
    if not is_interpreter_of_multiprocessing():
        return
    if any(package in sys.modules for package in LIGHTNING.packages):
        _watch()
        return
    for package in LIGHTNING.packages:
        register_post_import_hook(_watch, package)


def _watch(_package: object = None) -> None:
    from tracelet_otel.instrumentation.lightning import LightningInstrumentor

    LightningInstrumentor().say_if_worker_trains()
