"""The environment variables of a process that this package starts, made from those of its parent. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

# Variables that are not passed on, by prefix and by name.
_PREFIXES: Final = ("OTEL_", "TRACELET_")
_NAMES: Final = (
    # It names the wandb-core process of the training, which ends with the training.
    "WANDB_SERVICE",
    "PYTHONINSPECT",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
    "PYTHONPROFILEIMPORTTIME",
)
_AUTO_INSTRUMENTATION: Final = "opentelemetry/instrumentation/auto_instrumentation"
PREFERRED: Final = {
    # Our own delivery retries, with pauses that can be interrupted; MLflow's own retries would block for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # MLflow would print the run's address, with credentials where the address holds any.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # wandb would report its own errors to its makers, with another SDK and its threads.
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
}
"""Defaults for any process of ours that delivers. Variables that its environment already has take precedence."""


def child_environment(parent: Mapping[str, str], search_path: list[str]) -> dict[str, str]:
    """The environment of a process of ours that delivers: no OpenTelemetry settings, no settings of ours, no GPU.

    Args:
        parent: environment of the process that starts it. Its variables for trackers' clients are kept.
        search_path: module search path (`sys.path`) of that process.
    """
    kept = {name: value for name, value in parent.items() if not name.startswith(_PREFIXES) and name not in _NAMES}
    # The directory that `opentelemetry-instrument` puts there would start an SDK in every Python child.
    paths = [str(Path(path).absolute()) for path in search_path if path and Path(path).exists()]
    paths = [path for path in paths if not path.replace(os.sep, "/").endswith(_AUTO_INSTRUMENTATION)]
    return {
        **PREFERRED,
        **kept,
        "PYTHONPATH": os.pathsep.join(paths),
        # `python -m` would look for modules in the working directory first.
        "PYTHONSAFEPATH": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
