"""The environment of a process of ours, made from that of the one that starts it. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_FOREIGN: Final = ("OTEL_", "TRACELET_")
_ABSENT: Final = (
    # wandb-core of the training belongs to the training: it ends with it.
    "WANDB_SERVICE",
    "PYTHONINSPECT",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
    "PYTHONPROFILEIMPORTTIME",
)
_AUTO_INSTRUMENTATION: Final = "opentelemetry/instrumentation/auto_instrumentation"
PREFERRED: Final = {
    # Our own delivery retries, with pauses that can be interrupted; MLflow's own would block for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # It would print the run's address, with credentials where the address holds any.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # It would report errors of its own to its makers, with an SDK and threads for it.
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
}
"""For any process of ours that delivers; what its environment says already stands."""


def child_environment(parent: Mapping[str, str], search_path: list[str]) -> dict[str, str]:
    """What a process of ours that delivers sees: no OpenTelemetry, no settings of ours, no GPU.

    Args:
        parent: the environment of the process that starts it; what it says of trackers' clients stands.
        search_path: where that process finds modules.
    """
    kept = {name: value for name, value in parent.items() if not name.startswith(_FOREIGN) and name not in _ABSENT}
    # The place of `opentelemetry-instrument` would start an SDK in every Python child.
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
