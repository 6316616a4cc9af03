"""The tracker for MLflow, which writes to a tracking server, or directly to a database or folder."""

from typing import Final

from tracelet_otel.exporters.mlflow.address import CREDENTIALS
from tracelet_otel.exporters.mlflow.options import MlflowOptions
from tracelet_otel.exporters.spec import TrackerSpec

SPEC: Final = TrackerSpec(
    "mlflow",
    tracker="tracelet_otel.exporters.mlflow.client:MlflowTracker",
    probe="tracelet_otel.exporters.mlflow.probe:probe",
    options=MlflowOptions,
    package="mlflow",
    install="tracelet-otel[mlflow]",
    credentials=CREDENTIALS,
    assigns_run_ids=True,
    takes_traces=True,
    environment={
        # Our own delivery retries, with pauses that can be interrupted; MLflow's own retries would block for minutes.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # MLflow would print the run's address, with credentials where the address holds any.
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    },
)
