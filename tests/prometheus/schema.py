"""Is a dashboard what Grafana's schema says? The SDK that Grafana generates from it knows every field and type."""

from __future__ import annotations

import enum
import inspect
import json
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard as models


def faults(dashboard: Mapping[str, Any]) -> list[str]:
    """What is unknown to the schema, gets lost in it, or is of another type."""
    register_default_plugins()
    read = models.Dashboard.from_json(dict(dashboard))
    written = _written(read)
    return [*_lost(dashboard, written, "dashboard"), *_mistyped(read, "dashboard")]


def _written(value: Any) -> Any:
    return json.loads(json.dumps(value, cls=JSONEncoder))


def _lost(given: Any, written: Any, place: str) -> Iterator[str]:
    if isinstance(given, Mapping) and isinstance(written, Mapping):
        for name, value in given.items():
            if name not in written:
                yield f"{place}.{name} is not in the schema"
            else:
                yield from _lost(value, written[name], f"{place}.{name}")
    elif isinstance(given, list) and isinstance(written, list) and len(given) == len(written):
        for index, (one, other) in enumerate(zip(given, written, strict=True)):
            yield from _lost(one, other, f"{place}[{index}]")
    elif given != written:
        yield f"{place} became {written!r}"


def _mistyped(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, enum.Enum) or not type(value).__module__.startswith("grafana_foundation_sdk"):
        return
    module = inspect.getmodule(type(value))
    for name, hint in typing.get_type_hints(type(value), vars(module)).items():
        own = getattr(value, name)
        if not _fits(own, hint):
            yield f"{place}.{name} is {own!r}, no {hint}"
        for index, one in enumerate(own if isinstance(own, list) else [own]):
            yield from _mistyped(one, f"{place}.{name}[{index}]")


def _fits(value: Any, hint: Any) -> bool:
    if hint in (Any, object) or isinstance(hint, typing.TypeVar):
        return True
    if typing.get_origin(hint) is not None:
        return _fits_generic(value, typing.get_origin(hint), typing.get_args(hint))
    if issubclass(hint, enum.Enum):
        return value in {one.value for one in hint}
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    if isinstance(value, dict) and hasattr(hint, "from_json"):
        # The SDK leaves some of what it reads as it is.
        return not [*_lost(value, _written(read := hint.from_json(value)), ""), *_mistyped(read, "")]
    return isinstance(value, hint)


def _fits_generic(value: Any, origin: Any, arguments: tuple[Any, ...]) -> bool:
    if origin is typing.Union:
        return any(_fits(value, one) for one in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(_fits(one, arguments[0]) for one in value)
    return isinstance(value, origin)
