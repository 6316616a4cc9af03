"""How the values that ranks log under one name combine: as the user asked for in `self.log`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard

_BY_FUNCTION: Final = {
    "is_sum_reduction": semconv.REDUCTION_SUM,
    "is_max_reduction": semconv.REDUCTION_MAX,
    "is_min_reduction": semconv.REDUCTION_MIN,
}


class Reductions:
    """The reduction of each metric name, read from Lightning's results once for each.

    Args:
        guard: where results that are not as expected are reported.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self.by_name: dict[str, str] = {}
        """One of `semconv.REDUCTION_*` by metric name. Names are only added."""

    def look_up(self, trainer: Any, row: Mapping[str, Any]) -> None:
        """Read the reductions of those names of a row that are new.

        Args:
            trainer: the trainer, which logs the row at this moment.
            row: the row's values by name.
        """
        new = row.keys() - self.by_name.keys()
        if not new:
            return
        try:
            found = dict(_reductions(trainer._results))
        except Exception as error:
            self._guard.report("how the values of ranks combine could not be read from Lightning", error)
            found = {}
        for name in new:
            # A name without a result was added by Lightning itself, like `epoch`: its value is the same on all ranks.
            self.by_name[name] = found.get(name, semconv.REDUCTION_MEAN)


def logged_names(results: Any) -> set[str]:
    """Names under which `self.log` hands values to loggers now.

    Args:
        results: a trainer's result collection; None outside of its loops.
    """
    return {name for result in (results or {}).values() if result.meta.logger for name in _names(results, result)}


def _reductions(results: Any) -> Iterable[tuple[str, str]]:
    for result in (results or {}).values():
        reduction = _of(result.meta)
        for name in _names(results, result):
            yield name, reduction


def _names(results: Any, result: Any) -> Iterable[str]:
    """Names of one result in the rows of steps and of epochs."""
    for on_step in (True, False):
        _, name = results._forked_name(result, on_step)
        yield name


def _of(meta: Any) -> str:
    if meta.sync.should or meta.sync.rank_zero_only:
        return semconv.REDUCTION_NONE
    return next((name for attribute, name in _BY_FUNCTION.items() if getattr(meta, attribute)), semconv.REDUCTION_MEAN)
