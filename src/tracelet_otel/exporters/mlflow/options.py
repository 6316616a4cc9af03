"""Settings of the tracker for MLflow."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from tracelet_otel import semconv
from tracelet_otel.exporters.mlflow.address import absolute, check_known, is_database
from tracelet_otel.exporters.spec import TrackerOptions


class MlflowOptions(TrackerOptions):
    """Settings that are read from the environment variables of MLflow's client."""

    address_field = "mlflow_tracking_uri"
    run_field = "mlflow_run_id"

    mlflow_tracking_uri: str | None = Field(default=None, alias="MLFLOW_TRACKING_URI")
    """Address of the store; by default a SQLite file in the working directory."""
    mlflow_run_id: str | None = Field(default=None, pattern=semconv.RUN_ID_PATTERN, alias="MLFLOW_RUN_ID")
    """Id of the run to continue."""

    def resolved(self) -> MlflowOptions:
        """Return a copy whose address means the same in any working directory."""
        default = f"sqlite:///{Path.cwd() / 'mlflow.db'}"
        return self.at(absolute(self.mlflow_tracking_uri or default))

    @property
    def client_modules(self) -> tuple[str, ...]:
        """The client, and its way into databases where the store is one."""
        address = self.mlflow_tracking_uri or ""
        return ("mlflow", "mlflow.store.tracking.sqlalchemy_store") if is_database(address) else ("mlflow",)

    def check(self) -> None:
        """Check that MLflow supports this kind of address, as far as possible without its client.

        Raises:
            ConfigurationError: MLflow does not support it.
        """
        check_known(self.mlflow_tracking_uri or "")
