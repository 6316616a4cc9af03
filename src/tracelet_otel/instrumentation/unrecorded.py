"""A worker that multiprocessing has started, with `spawn` or from a server, for a process that has a run."""

from __future__ import annotations

import sys

from wrapt import register_post_import_hook

from tracelet_otel._support.private_names import LIGHTNING
from tracelet_otel._support.spawned import is_interpreter_of_multiprocessing


def say_if_worker_trains() -> None:
    """Have it said that a training in this process is not recorded, unless it calls `start_logging`."""
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
