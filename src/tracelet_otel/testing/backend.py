"""What the contract needs to know about one tracker: how to create it, and how to read a run from its store."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from tracelet_otel import semconv
from tracelet_otel.exporters import registry
from tracelet_otel.exporters.base import Tracker
from tracelet_otel.protocol.decode import Param, Reading
from tracelet_otel.protocol.run_identity import RunIdentity
from tracelet_otel.settings import Settings, load

Point = tuple[str, "int | None", Any, int]
"""A stored reading: exact name, step, value (NaN and infinities as text), time in milliseconds since the epoch."""


def point(name: str, step: int | None, value: float, time_ms: int) -> Point:
    """Make a stored reading that tests can compare.

    Args:
        name: name of the metric, exactly as it was logged.
        step: None where the tracker stores no step.
        value: any number. NaN and infinities become text, since NaN is not equal to itself.
        time_ms: milliseconds since the epoch.
    """
    return name, step, value if math.isfinite(value) else str(value), time_ms


def reading(name: str, value: float, step: int = 0, time_ms: int = 1_700_000_000_000, **more: Any) -> Reading:
    """Make a reading to write into a tracker.

    Args:
        name: name of the metric.
        value: any number.
        step: position on its axis, by default `semconv.AXIS_USER`.
        time_ms: milliseconds since the epoch.
        more: other fields of `Reading`.
    """
    return Reading(name, value, step, time_ms * 1_000_000, more.pop("axis", semconv.AXIS_USER), 0, **more)


@dataclass
class Stored:
    """A run as it was read from a tracker's store."""

    name: str | None
    """Name of the run."""
    project: str
    status: Any
    """The run's status in the tracker's own terms, as `ContractBackend.statuses` has them."""
    params: dict[str, Any]
    """Hyperparameters, in the form of `ContractBackend.shown_params`."""
    facts: dict[str, Any]
    """Resource attributes as text, and everything else that is not a hyperparameter."""
    points: Counter[Point]
    tags: Any = None
    """Tags, in the form of `ContractBackend.shown_tags`; None where the tracker has no place for tags."""
    note: str | None = None
    """The run's description."""
    parent: Any = None
    """How the run is shown as a child, in the form of `ContractBackend.shown_parent`; None where it is not."""


class ContractBackend(ABC):
    """One tracker with one store. The attributes say how it differs from others, which its users have to be told."""

    name: ClassVar[str]
    """Name of the tracker, which is that of its entry point."""
    statuses: Mapping[str | None, Any] = {}
    """The run's status by outcome. The key None is for all outcomes that have no key, and for a killed training."""
    refused: Reading | None = None
    """A reading that the tracker can never store; None where it stores all."""

    @cached_property
    def opened(self) -> list[Tracker]:
        """All trackers that were created, so that a fixture can close those that a test has left open."""
        return []

    @abstractmethod
    def stored(self, run_id: str) -> Stored:
        """Read a run from the tracker's store, without the tracker's own code."""

    def settings(self) -> dict[str, Any]:
        """Settings with which the tracker is created, as `start_logging` takes them."""
        return {}

    def tracker(self, **config: Any) -> Tracker:
        """Create a tracker without opening it.

        Args:
            config: settings in addition to those of `settings`.
        """
        settings = registry.absolute(load({"backend": self.name}, {**self.settings(), **config}))
        self.opened.append(self.made(settings))
        return self.opened[-1]

    def made(self, settings: Settings) -> Tracker:
        """Create a tracker from settings that `registry.absolute` has returned."""
        return registry.tracker(self.name, settings)

    def kept(self, readings: Sequence[Reading]) -> Iterable[Point]:
        """What the tracker stores of readings. A subclass overrides this where users are told of a difference."""
        for one in readings:
            name, factor = self.system_names[one.name] if one.is_system else (one.name, 1)
            yield point(name, one.step, one.value * factor, one.time_unix_nano // 1_000_000)

    def shown_params(self, params: Mapping[str, Param]) -> dict[str, Any]:
        """What the tracker shows of hyperparameters."""
        return {name: param.text for name, param in params.items()}

    def shown_tags(self, tags: Mapping[str, str]) -> Any:
        """What the tracker shows of tags, without the note."""
        return dict(tags)

    def shown_parent(self, parent: RunIdentity) -> Any:
        """How the tracker shows runs that have this parent; None where it has no place for that."""
        return None

    def step_without_axis(self, last_step: int) -> int | None:
        """Step at which the tracker shows a value that was logged without a step.

        Args:
            last_step: step of the row before that value.

        Returns:
            The step; None where the tracker stores none.
        """
        return 0

    system_names: Mapping[str, tuple[str, float]] = {
        "system/gpu_0_utilization_percentage": ("system/gpu_0_utilization_percentage", 1),
        "system/gpu_12_memory_usage_megabytes": ("system/gpu_12_memory_usage_megabytes", 1),
        "system/node_1/gpu_0_power_usage_watts": ("system/node_1/gpu_0_power_usage_watts", 1),
        "system/cpu_utilization_percentage": ("system/cpu_utilization_percentage", 1),
    }
    """Names under which the tracker shows readings of GPU and host, and factors by which it multiplies them."""
