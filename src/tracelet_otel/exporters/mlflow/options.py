"""Where MLflow's runs go."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from tracelet_otel import semconv
from tracelet_otel.exporters.mlflow.address import absolute, check_known
from tracelet_otel.exporters.spec import TrackerOptions


class MlflowOptions(TrackerOptions):
    """What MLflow's client is configured with by environment variables of its own."""

    address_field = "mlflow_tracking_uri"
    run_field = "mlflow_run_id"

    mlflow_tracking_uri: str | None = Field(default=None, alias="MLFLOW_TRACKING_URI")
    """Address of the store; by default a SQLite file in the working directory."""
    mlflow_run_id: str | None = Field(default=None, pattern=semconv.RUN_ID_PATTERN, alias="MLFLOW_RUN_ID")
    """The run to continue."""

    def resolved(self) -> MlflowOptions:
        """The same with an address that means the same in any working directory."""
        default = f"sqlite:///{Path.cwd() / 'mlflow.db'}"
        return self.at(absolute(self.mlflow_tracking_uri or default))

    def check(self) -> None:
        """Check that MLflow knows such an address, as far as that shows without its client.

        Raises:
            ConfigurationError: it does not.
        """
        check_known(self.mlflow_tracking_uri or "")
