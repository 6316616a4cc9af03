"""What the contract has to know of one tracker: how one is made, and what its store holds of a run."""

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
from tracelet_otel.settings import Settings, load

Point = tuple[str, "int | None", Any, int]
"""A stored reading: exact name, step, value (NaN and infinities by name), time in milliseconds since the epoch."""


def point(name: str, step: int | None, value: float, time_ms: int) -> Point:
    """A stored reading, in a form that compares equal to itself.

    Args:
        name: exactly as it was logged.
        step: None where the tracker has none.
        value: any number; NaN differs from itself, and so becomes its name.
        time_ms: milliseconds since the epoch.
    """
    return name, step, value if math.isfinite(value) else str(value), time_ms


def reading(name: str, value: float, step: int = 0, time_ms: int = 1_700_000_000_000, **more: Any) -> Reading:
    """A reading of a test, by what tests tell readings apart.

    Args:
        name: of the metric.
        value: any number.
        step: position on its axis, which is the user's own by default.
        time_ms: milliseconds since the epoch.
        more: other fields of `Reading`.
    """
    return Reading(name, value, step, time_ms * 1_000_000, more.pop("axis", semconv.AXIS_USER), 0, **more)


@dataclass
class Stored:
    """What a tracker has of a run."""

    name: str | None
    """What people call the run."""
    project: str
    status: Any
    """In the tracker's own terms; `ContractBackend.statuses` says which stands for what."""
    params: dict[str, Any]
    """Hyperparameters, as `ContractBackend.shown_params` has them."""
    facts: dict[str, Any]
    """Resource attributes as text, and whatever else is no hyperparameter."""
    points: Counter[Point]


class ContractBackend(ABC):
    """One tracker at one place. The attributes say how it differs from others, which users are to be told."""

    name: ClassVar[str]
    """The tracker's name, by which its entry point is found."""
    statuses: Mapping[str | None, Any] = {}
    """What the run's status is, by outcome; None for every outcome that is not named, and for a killed training."""
    refused: Reading | None = None
    """A reading that it can never store; None where it stores all."""

    @cached_property
    def opened(self) -> list[Tracker]:
        """All trackers that were made, for who closes what a test has left open."""
        return []

    @abstractmethod
    def stored(self, run_id: str) -> Stored:
        """Read a run from the tracker's store, by other means than the tracker's."""

    def settings(self) -> dict[str, Any]:
        """Settings with which it is made, as `start_logging` takes them."""
        return {}

    def tracker(self, **config: Any) -> Tracker:
        """A tracker that has not been opened, with further settings."""
        settings = registry.absolute(load({"backend": self.name}, {**self.settings(), **config}))
        self.opened.append(self.made(settings))
        return self.opened[-1]

    def made(self, settings: Settings) -> Tracker:
        """A tracker for settings."""
        return registry.tracker(self.name, settings)

    def kept(self, readings: Sequence[Reading]) -> Iterable[Point]:
        """What it keeps of readings: all of them, but for what its users are told."""
        for one in readings:
            name, factor = self.system_names[one.name] if one.is_system else (one.name, 1)
            yield point(name, one.step, one.value * factor, one.time_unix_nano // 1_000_000)

    def shown_params(self, params: Mapping[str, Param]) -> dict[str, Any]:
        """What it shows of hyperparameters."""
        return {name: param.text for name, param in params.items()}

    def step_without_axis(self, last_step: int) -> int | None:
        """Where it shows what was logged without a step, after a row at `last_step`."""
        return 0

    system_names: Mapping[str, tuple[str, float]] = {
        "system/gpu_0_utilization_percentage": ("system/gpu_0_utilization_percentage", 1),
        "system/gpu_12_memory_usage_megabytes": ("system/gpu_12_memory_usage_megabytes", 1),
        "system/node_1/gpu_0_power_usage_watts": ("system/node_1/gpu_0_power_usage_watts", 1),
        "system/cpu_utilization_percentage": ("system/cpu_utilization_percentage", 1),
    }
    """Where it shows readings of GPU and host, and by what it multiplies them."""
