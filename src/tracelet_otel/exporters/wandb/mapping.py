"""Pure translation of readings, names and outcomes into W&B's terms.

Source of the rules: Lightning's `WandbLogger`, and the names that W&B's client reserves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

from tracelet_otel import semconv
from tracelet_otel.exporters.names import Names, with_hash
from tracelet_otel.protocol.decode import Param, Reading

STEP: Final = "trainer/global_step"
"""The column of the x axis, as `WandbLogger` calls it."""
TIME: Final = "_timestamp"
"""W&B's own column: seconds since the epoch."""
EXACT_NAME: Final = f"{semconv.METRIC_NAME}."
"""Prefix of the fact that keeps a changed metric name as it was logged, followed by its column."""

_NAME: Final = attrgetter("name", "is_system")
"""Of a reading: what decides on its column."""
_PLACE: Final = attrgetter("step", "time_unix_nano", "axis")
"""Of a reading: what it has in common with the others of its row."""
_OWN_COLUMNS: Final = (STEP, TIME, "_step", "_runtime", "_wandb")
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
    return {column: facts.get(EXACT_NAME + column, column) for column in columns if column not in _OWN_COLUMNS}


def _column(name: str) -> str:
    if not name:
        return with_hash("metric", name, _LONGEST)
    return f"metric/{name}" if name in _OWN_COLUMNS else name


def rows(
    readings: Sequence[Reading], columns: Mapping[tuple[str, bool], str], last_step: int | None = None
) -> list[dict[str, Any]]:
    """Make rows of history, one for readings that were logged together.

    Args:
        readings: in the order in which they were logged.
        columns: by name, and by whether it is of GPU or host.
        last_step: step of the row before; readings without a step get it, as W&B's client does it.
    """
    made: list[dict[str, Any]] = []
    row: dict[str, Any] = {}
    before: tuple[int, int, str] | None = None
    # Looked up outside the loop, which is faster: W&B's client waits for it.
    names = map(columns.__getitem__, map(_NAME, readings))
    for reading, name, place in zip(readings, names, map(_PLACE, readings), strict=True):
        if place != before or name in row:
            step = last_step if reading.axis == semconv.AXIS_NONE else reading.step
            row = {TIME: reading.time_unix_nano / 1e9, **({} if step is None else {STEP: step})}
            made.append(row)
            before, last_step = place, last_step if reading.is_system else step
        row[name] = reading.value
    return made


def metrics(readings: Iterable[Reading]) -> list[tuple[str, bool]]:
    """The metrics of readings, each once and in order: name, and whether it is of GPU or host."""
    return list(dict.fromkeys(map(_NAME, readings)))


def last_step(readings: Sequence[Reading], before: int | None) -> int | None:
    """Step of the last reading with a step that is not of GPU or host; `before` where there is none."""
    steps = (one.step for one in reversed(readings) if not one.is_system and one.axis != semconv.AXIS_NONE)
    return next(steps, before)


def cells(row: Mapping[str, Any]) -> list[tuple[str, float | None, float, str]]:
    """The values of a row, each with what identifies it: column, step, time and value."""
    place = float(row[STEP]) if STEP in row else None, float(row[TIME])
    return [(name, *place, repr(float(value))) for name, value in row.items() if name not in _OWN_COLUMNS]


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
