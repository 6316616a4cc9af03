"""Stores in W&B why a run failed: type and message in the summary, the traceback as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tracelet_otel import semconv
from tracelet_otel.exporters.wandb.folder import save
from tracelet_otel.protocol.failure import FAILURE_FILE, Failure

if TYPE_CHECKING:
    import wandb


def store_failure(run: wandb.Run, failure: Failure) -> None:
    """Store a failure. Storing the same one again changes nothing."""
    run.summary[semconv.EXCEPTION_TYPE] = failure.type
    run.summary[semconv.EXCEPTION_MESSAGE] = failure.message
    if failure.stacktrace:
        Path(run.dir, FAILURE_FILE).write_text(failure.stacktrace, encoding="utf-8")
        save(run, FAILURE_FILE)
