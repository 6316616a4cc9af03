"""Makes rows of W&B's history from readings. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracelet_otel import semconv
from tracelet_otel.exporters.names import Names
from tracelet_otel.exporters.wandb.mapping import EXACT_NAME, OWN_COLUMNS, STEP, TIME
from tracelet_otel.protocol.decode import Reading


class RowBuilder:
    """Makes rows of the readings of one run, batch by batch.

    Args:
        names: columns of the run's metrics. Where several names want one column, the first that arrives gets it.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._logged: dict[str, str] = {}
        self._system: dict[str, str] = {}
        self._last_step: int | None = None
        self.renamed: dict[str, str] = {}
        """A fact for each column that is not called as its metric was logged."""

    def made_of(self, readings: Sequence[Reading]) -> list[dict[str, Any]]:
        """Make rows, one for readings that were logged together.

        A reading without a step gets that of the row before, as W&B's client does it.

        Args:
            readings: in the order in which they were logged.
        """
        made: list[dict[str, Any]] = []
        row: dict[str, Any] = {}
        last_step = at = self._last_step
        before_ns, before_step, before_axis = -1, 0, ""
        # W&B's client waits for this: so one pass, which makes nothing but the rows.
        for name, value, step, time_ns, axis, _, _, _, _, _, _, is_system in readings:
            column = (self._system if is_system else self._logged).get(name)
            if column is None:
                column = self._new_column(name, is_system=is_system)
            if time_ns != before_ns or step != before_step or axis != before_axis or column in row:
                before_ns, before_step, before_axis = time_ns, step, axis
                at = last_step if axis == semconv.AXIS_NONE else step
                row = {TIME: time_ns / 1e9} if at is None else {TIME: time_ns / 1e9, STEP: at}
                made.append(row)
            row[column] = value
            if not is_system:
                last_step = at
        return made

    def passed(self, readings: Sequence[Reading]) -> None:
        """Remember the step of readings that are written, for those that come after them."""
        steps = (one.step for one in reversed(readings) if not one.is_system and one.axis != semconv.AXIS_NONE)
        self._last_step = next(steps, self._last_step)

    def _new_column(self, name: str, *, is_system: bool) -> str:
        column = self._names.key(name, is_system=is_system)
        (self._system if is_system else self._logged)[name] = column
        if column != name:
            self.renamed[EXACT_NAME + column] = name
        return column


def cells(row: Mapping[str, Any]) -> list[tuple[str, float | None, float, str]]:
    """The values of a row, each with what identifies it: column, step, time and value."""
    place = float(row[STEP]) if STEP in row else None, float(row[TIME])
    return [(name, *place, repr(float(value))) for name, value in row.items() if name not in OWN_COLUMNS]
