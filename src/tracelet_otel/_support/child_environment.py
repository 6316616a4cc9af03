"""The environment variables of a process that this package starts, made from those of its parent. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

# Variables that are not passed on, by prefix and by name.
_PREFIXES: Final = ("OTEL_", "TRACELET_")
_NAMES: Final = (
    "PYTHONINSPECT",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
    "PYTHONPROFILEIMPORTTIME",
)
_AUTO_INSTRUMENTATION: Final = "opentelemetry/instrumentation/auto_instrumentation"


def child_environment(
    parent: Mapping[str, str],
    search_path: list[str],
    defaults: Mapping[str, str],
    not_inherited: Sequence[str],
) -> dict[str, str]:
    """The environment of a process of ours that delivers: no OpenTelemetry settings, no settings of ours, no GPU.

    Args:
        parent: environment of the process that starts it. Its variables for trackers' clients are kept.
        search_path: module search path (`sys.path`) of that process.
        defaults: variables that it gets where its parent does not have them.
        not_inherited: variables that it does not get, beside those that no such process gets.
    """
    dropped = {*_NAMES, *not_inherited}
    kept = {name: value for name, value in parent.items() if not name.startswith(_PREFIXES) and name not in dropped}
    # The directory that `opentelemetry-instrument` puts there would start an SDK in every Python child.
    paths = [str(Path(path).absolute()) for path in search_path if path and Path(path).exists()]
    paths = [path for path in paths if not path.replace(os.sep, "/").endswith(_AUTO_INSTRUMENTATION)]
    return {
        **defaults,
        **kept,
        "PYTHONPATH": os.pathsep.join(paths),
        # `python -m` would look for modules in the working directory first.
        "PYTHONSAFEPATH": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
