"""Hyperparameters of a run, as points of an observable gauge."""

from __future__ import annotations

import dataclasses
import math
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any, Final

from opentelemetry.metrics import MeterProvider

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.text import encodable, shortened
from tracelet_otel.instrumentation.reported import NamedValue, ReportedValues
from tracelet_otel.protocol.report_kinds import HPARAMS, MAX_VALUE_LENGTH

_DEEPEST: Final = 20
_INTEGERS: Final = 2**63


class Hyperparameters:
    """The run's hyperparameters. Trackers get each value that one of them has, in the order in which they were set.

    Args:
        meter_provider: where the instrument is created.
        guard: where values that have no text are reported.
    """

    def __init__(self, meter_provider: MeterProvider, guard: Guard) -> None:
        self._guard = guard
        description = "A hyperparameter: its number, or 1 where it is none"
        self._values = ReportedValues(HPARAMS, description, meter_provider, guard)

    def update(self, params: Any) -> None:
        """Add hyperparameters.

        Names of nested ones are joined with `/`. A new value of a known name is exported as its next revision. Values
        are converted to text at once: objects may change later, and a tensor would be copied from its device at every
        collection.

        Args:
            params: a mapping, namespace or dataclass.

        Raises:
            TypeError: `params` has another type.
        """
        if not isinstance(params, (Mapping, Namespace)) and not dataclasses.is_dataclass(params):
            raise TypeError(f"they are no mapping, namespace or dataclass, but {type(params).__name__}")
        found: list[NamedValue] = []
        for flat_name, value in flatten(params):
            name = encodable(flat_name)
            try:
                found.append(NamedValue(name, _as_text(value), _as_number(value), _type_of(value)))
            except Exception as error:
                self._guard.report(f"hyperparameter {name!r} was dropped", error)
        self._values.update(found)


def flatten(params: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Flatten nested mappings, namespaces and dataclasses, with the names that Lightning's loggers use.

    Flattening stops after 20 levels, so that an object which contains itself ends: what is deeper is one value.

    Args:
        params: the object to flatten.
        prefix: name of `params` itself; empty at the top.
        depth: how many levels are above `params`.

    Yields:
        Name, joined with `/`, and value.
    """
    if isinstance(params, Namespace):
        params = vars(params)
    elif dataclasses.is_dataclass(params) and not isinstance(params, type):
        params = {
            field.name: getattr(params, field.name)
            for field in dataclasses.fields(params)
            if hasattr(params, field.name)
        }
    if isinstance(params, Mapping) and (params or not prefix) and depth < _DEEPEST:
        for name, value in params.items():
            yield from flatten(value, f"{prefix}/{name}" if prefix else str(name), depth + 1)
    elif prefix:
        yield prefix, params


def _as_number(value: Any) -> float:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _INTEGERS:
        return value
    return value if isinstance(value, float) and math.isfinite(value) else 1


def _type_of(value: Any) -> dict[str, str]:
    """The type attribute, where the text is enough to restore the value: not for enumeration members or tensors."""
    types = {bool: semconv.TYPE_BOOL, int: semconv.TYPE_INT, float: semconv.TYPE_FLOAT, type(None): semconv.TYPE_NONE}
    return {semconv.HPARAM_TYPE: types[type(value)]} if type(value) in types else {}


def _as_text(value: Any) -> str:
    return shortened(encodable(str(value)), MAX_VALUE_LENGTH)
