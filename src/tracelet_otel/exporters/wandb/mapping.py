"""Pure translation of names, hyperparameters and outcomes into W&B's terms.

Source of the rules: Lightning's `WandbLogger`, and the names that W&B's client reserves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tracelet_otel import semconv
from tracelet_otel.exporters.names import Names, with_hash
from tracelet_otel.protocol.decode import Param

STEP: Final = "trainer/global_step"
"""The column of the x axis, as `WandbLogger` calls it."""
TIME: Final = "_timestamp"
"""W&B's own column: seconds since the epoch."""
EXACT_NAME: Final = f"{semconv.METRIC_NAME}."
"""Prefix of the fact that keeps a changed metric name as it was logged, followed by its column."""

OWN_COLUMNS: Final = (STEP, TIME, "_step", "_runtime", "_wandb")
"""Columns that hold no metric."""

LONGEST_TAG: Final = 64
"""In characters. Source: `Settings.validate_run_tags` of W&B's client."""

_LONGEST: Final = 250

EXIT_CODES: Final = {semconv.OUTCOME_FINISHED: 0, semconv.OUTCOME_FAILED: 1}
"""Exit code by outcome; `KILLED` for every other outcome and for none."""
KILLED: Final = 255


def column_names(known: Mapping[str, str] | None = None) -> Names:
    """Columns for names of metrics: the names themselves, except where W&B has a column of that name.

    Args:
        known: exact names by column, from an earlier part of the same run.
    """
    return Names(_column, _LONGEST, known)


def exact_names(columns: Iterable[str], facts: Mapping[str, Any]) -> dict[str, str]:
    """Exact names by column, of a run that is continued; `facts` has the names that were changed."""
    return {column: facts.get(EXACT_NAME + column, column) for column in columns if column not in OWN_COLUMNS}


def _column(name: str) -> str:
    if not name:
        return with_hash("metric", name, _LONGEST)
    return f"metric/{name}" if name in OWN_COLUMNS else name


def nested(params: Mapping[str, Param]) -> dict[str, Any]:
    """Make a run's config: hyperparameters are nested again, and numbers are numbers again.

    Where one name is both a value and the beginning of another, the longer one is not nested.
    """
    config: dict[str, Any] = {}
    for name in sorted(params, key=lambda name: name.count("/")):
        *groups, leaf = name.split("/")
        inner = config
        for group in groups:
            deeper = inner.setdefault(group, {})
            if not isinstance(deeper, dict):
                inner, leaf = config, name
                break
            inner = deeper
        inner[leaf] = params[name].value
    return config
