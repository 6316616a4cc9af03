"""What writes to a run in MLflow beside its tracker, on another thread and with a client of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tracelet_otel._support.redact import without_credentials
from tracelet_otel.errors import TrackerUnavailableError
from tracelet_otel.exporters.mlflow.address import check_usable, database_lock
from tracelet_otel.exporters.mlflow.errors import translated
from tracelet_otel.exporters.mlflow.new_store import process_lock
from tracelet_otel.protocol.run_identity import RunIdentity

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


class BesideTracker:
    """A writer of one run in MLflow.

    Args:
        what: what is written, for the beginning of messages.
        connect: returns a client of the store.
        uri: address of the store.
        find: returns the run; None where there is none yet.
    """

    def __init__(
        self,
        what: str,
        connect: Callable[[], MlflowClient],
        uri: str,
        find: Callable[[MlflowClient, RunIdentity], Run | None],
    ) -> None:
        self._connect = connect
        self._uri = uri
        self._what = f"{what} in MLflow at {without_credentials(uri)}"
        self._find = find

    def open(self, run: RunIdentity) -> None:
        """Find the run and its experiment."""
        with translated(self._what, self._uri), database_lock(self._uri), process_lock(self._uri):
            check_usable(self._uri)
            self._client = self._connect()
            found = self._find(self._client, run)
            if found is None:
                raise TrackerUnavailableError(f"{self._what}: the run is not there yet")
            self._begin(found)

    def _begin(self, run: Run) -> None:
        """The run was found; errors of MLflow's are translated."""
        raise NotImplementedError
