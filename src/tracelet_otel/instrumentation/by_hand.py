"""What users record of their run by calls of their own, beside what Lightning logs."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.recorder import Row
from tracelet_otel.instrumentation.scalars import snapshot
from tracelet_otel.instrumentation.signals import Signals


class RecordsByHand(ABC):
    """The methods of `Run` that record values of its user. Each returns at once.

    An error is logged and counted in `Run.errors`, and never raised.
    """

    _guard: Guard
    _signals: Signals
    _heir: RecordsByHand | None = None

    def log_metric(self, name: str, value: Any, step: int) -> None:
        """Record one value of your own. Returns at once; an error is logged and counted in `errors`, and never raised.

        Args:
            name: the metric's name; any text.
            value: a number, or a tensor of one element.
            step: position on the x axis, an integer.

        Example:
            >>> run.log_metric("score", 0.93, step=120)
        """
        if self._heir is not None:
            self._heir.log_metric(name, value, step)
        elif self._is_live(f"metric {name!r}"):
            try:
                row = Row(time.time_ns(), {name: snapshot(value)}, snapshot(step), semconv.AXIS_USER, "")
                membership = self._signals.membership
                if (membership.world_size or 1) > 1:
                    row = row._replace(training=membership.training, world_size=membership.world_size)
                self._signals.recorder.record(row)
            except Exception as error:
                self._guard.report("a value was dropped", error)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record hyperparameters. Returns at once; an error is logged and counted in `errors`, and never raised.

        Args:
            params: values by name. The names of nested mappings are joined with `/`, as in `model/width`.

        Example:
            >>> run.log_params({"lr": 0.1, "model": {"width": 64}})
        """
        if self._heir is not None:
            self._heir.log_params(params)
        elif self._is_live("hyperparameters"):
            try:
                self._signals.hparams.update(params)
            except Exception as error:
                self._guard.report("hyperparameters were dropped", error)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, as often as you like. Returns at once; an error is logged and counted, and never raised.

        A tag that is set again gets the new value, and the others stay. In trackers whose tags are plain words, a tag
        is `name:value`, or only its name where the value is empty.

        Args:
            tags: values by name. Names that begin with `tracelet.` are not for users.

        Example:
            >>> run.set_tags({"team": "vision", "baseline": ""})
        """
        if self._heir is not None:
            self._heir.set_tags(tags)
        elif self._is_live("tags"):
            try:
                self._signals.tags.update(tags)
            except Exception as error:
                self._guard.report("tags were dropped", error)

    def set_note(self, text: str) -> None:
        """Describe the run; another call replaces the text. Returns at once, and never raises an error.

        Args:
            text: at most 8,000 characters, of any number of lines.

        Example:
            >>> run.set_note("Learning rate of the paper, batch size of ours.")
        """
        if self._heir is not None:
            self._heir.set_note(text)
        elif self._is_live("the note"):
            try:
                self._signals.tags.describe(text)
            except Exception as error:
                self._guard.report("the note was dropped", error)

    def hand_on(self, heir: RecordsByHand) -> None:
        """Pass all of these calls to another run from now on.

        Args:
            heir: the run of a forked rank, which has inherited this object from its parent.
        """
        self._heir = heir

    @abstractmethod
    def _is_live(self, what: str) -> bool:
        """Whether the run takes values; where it has ended, report what came too late."""
