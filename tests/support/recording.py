"""A logger of the tests' own, to compare with what we record. Imports no Lightning by itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any


def recording_logger(pl: ModuleType) -> Any:
    """A logger of the test's own: it keeps the rows that Lightning hands to it."""

    base: Any = pl.loggers.Logger

    class Recording(base):
        name = "recording"
        version = 0

        def __init__(self) -> None:
            self.rows: list[tuple[dict[str, float], int | None]] = []

        def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
            self.rows.append(({name: float(value) for name, value in metrics.items()}, step))

        def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
            pass

    return Recording()
