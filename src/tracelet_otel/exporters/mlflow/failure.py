"""Stores in MLflow the traceback of a run that failed, as a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tracelet_otel.protocol.failure import FAILURE_FILE, STACKTRACE_TAG, failure_in

if TYPE_CHECKING:
    from mlflow import MlflowClient


def store_failure(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Store the traceback as an artifact, where tags have one.

    Artifacts have a store of their own, which may be away, or closed to us. The tags say the same.

    Args:
        client: MLflow's client.
        run_id: MLflow's id of the run.
        tags: tags of the run.

    Returns:
        Why that was not possible, by the tag's name; empty where it was.
    """
    failure = failure_in(tags)
    if failure is not None and failure.stacktrace:
        try:
            client.log_text(run_id, failure.stacktrace, FAILURE_FILE)
        except Exception as error:
            return {STACKTRACE_TAG: f"there is no {FAILURE_FILE}: {error}"}
    return {}
