"""Pages of the reference that are made from the code: settings, metrics, and names of `semconv`."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise, takewhile
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from docutils import nodes
from opentelemetry.metrics import NoOpMeter, NoOpMeterProvider
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.registry import specs
from tracelet_otel.gpu.devices import Devices
from tracelet_otel.gpu.instruments import observe_devices
from tracelet_otel.instrumentation.own_run import Participation
from tracelet_otel.instrumentation.signals import make_signals, traced
from tracelet_otel.relay.telemetry import RelayTelemetry
from tracelet_otel.settings import Settings
from tracelet_otel.system.filesystem import observe_filesystem

_BOUNDS: Final = {Gt: ("gt", ">"), Ge: ("ge", "≥"), Lt: ("lt", "<"), Le: ("le", "≤")}
_CONSTANT: Final = re.compile(r"\b[A-Z][A-Z_]+\b")
_CONSTANTS: Final = re.compile(r"one of [A-Z_]+_\*")
_SYSTEMS: Final = {"linux": "Linux", "darwin": "macOS", "win32": "Windows"}


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("settings", SettingsDirective)
    app.add_directive("options-of-trackers", OptionsDirective)
    app.add_directive("metrics", MetricsDirective)
    app.add_directive("names", NamesDirective)
    # Before napoleon, which reads the same lines.
    app.connect("autodoc-process-docstring", _hide_arguments, priority=400)
    return {"parallel_read_safe": True}


def _hide_arguments(_app: Sphinx, _what: str, name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Leave out how a run is made, which is not for users: they call `start_logging`."""
    if name == "tracelet_otel.Run":
        del lines[lines.index("Args:") :]


class MarkdownDirective(SphinxDirective):
    """Makes Markdown, which becomes a part of the page."""

    def run(self) -> list[nodes.Node]:
        """Called by Sphinx."""
        return self.parse_text_to_nodes("\n".join(self.lines()))

    def lines(self) -> Iterator[str]:
        """Yield the lines of the Markdown."""
        raise NotImplementedError


class SettingsDirective(MarkdownDirective):
    """All settings, each with its variable, type, default and description."""

    def lines(self) -> Iterator[str]:
        """Yield an entry for each field."""
        described = descriptions(Settings)
        for name, field in Settings.model_fields.items():
            if field.validation_alias is None:
                yield from _entry(name, field, f"TRACELET_{name.upper()}", described[name])


class OptionsDirective(MarkdownDirective):
    """The variables of trackers' clients that are heeded, by tracker."""

    def lines(self) -> Iterator[str]:
        """Yield a table."""
        yield from ("| variable | tracker | type | description |", "| --- | --- | --- | --- |")
        for spec in specs():
            described = descriptions(spec.options)
            for name, field in spec.options.model_fields.items():
                cells = f"`{field.alias}`", spec.name, _type(field), described[name]
                yield _row(*cells)


@dataclass(frozen=True)
class Instrument:
    """An instrument that the package makes."""

    name: str
    kind: str
    unit: str
    description: str


class MetricsDirective(MarkdownDirective):
    """The instruments of a scope of `semconv`, which is the argument."""

    required_arguments = 1

    def lines(self) -> Iterator[str]:
        """Yield a table."""
        yield from ("| metric | kind | unit | description |", "| --- | --- | --- | --- |")
        for one in instruments()[getattr(semconv, self.arguments[0])]:
            yield _row(f"`{one.name}`", one.kind, f"`{one.unit}`", one.description)


class NamesDirective(MarkdownDirective):
    """The names that a module of `semconv` has, which is the argument: a table for each of its blocks."""

    required_arguments = 1

    def lines(self) -> Iterator[str]:
        """Yield the title and the table of each block."""
        module = importlib.import_module(f"tracelet_otel.semconv.{self.arguments[0]}")
        for title, names in blocks(module):
            yield from ("", f"**{title}**", "", "| name | what it is |", "| --- | --- |")
            for value, comment in names.items():
                yield _row(f"`{value}`", comment)


def instruments() -> Mapping[str, list[Instrument]]:
    """All instruments that the package makes, by scope, as its own code makes them."""
    provider = _Noting()
    guard = Guard()
    for owns_run in (True, False):
        part = Participation(owns_run=owns_run, tracks_time=True, checkpoints="reference")
        traced(make_signals(provider, guard, participation=part), provider, lambda: "")
    observe_filesystem(provider)
    observe_devices(provider, guard, Devices(guard, dict))
    # Without what it exports to.
    relay = object.__new__(RelayTelemetry)
    relay._observe(provider.get_meter(semconv.SCOPE_RELAY))
    return {scope: list(meter.made.values()) for scope, meter in provider.meters.items()}


class _NotingMeter(NoOpMeter):
    """Notes which instruments are made."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.made: dict[str, Instrument] = {}

    def _note(self, kind: str, name: str, unit: str, description: str) -> None:
        self.made.setdefault(name, Instrument(name, kind, unit, description))

    def create_counter(self, name: str, unit: str = "", description: str = "") -> Any:
        self._note("counter", name, unit, description)
        return super().create_counter(name, unit, description)

    def create_histogram(self, name: str, unit: str = "", description: str = "", **others: Any) -> Any:
        self._note("histogram", name, unit, description)
        return super().create_histogram(name, unit, description, **others)

    def create_observable_counter(self, name: str, callbacks: Any = None, unit: str = "", description: str = "") -> Any:
        self._note("counter", name, unit, description)

    def create_observable_gauge(self, name: str, callbacks: Any = None, unit: str = "", description: str = "") -> Any:
        self._note("gauge", name, unit, description)

    def create_observable_up_down_counter(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> Any:
        self._note("up-down counter", name, unit, description)


class _Noting(NoOpMeterProvider):
    def __init__(self) -> None:
        self.meters: dict[str, _NotingMeter] = {}

    def get_meter(self, name: str, *others: Any, **more: Any) -> _NotingMeter:
        return self.meters.setdefault(name, _NotingMeter(name))


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """What stands below each field of a model, by name."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(model)).body if isinstance(node, ast.ClassDef))
    return {
        node.target.id: " ".join(str(text.value.value).split())
        for node, text in pairwise(body)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


def blocks(module: ModuleType) -> Iterator[tuple[str, dict[str, str]]]:
    """The names of a module of `semconv`: for each block its title, and the comments behind names by these.

    A block begins with lines of comment, and ends with an empty line.
    """
    for block in Path(str(module.__file__)).read_text().split("\n\n"):
        lines = block.split("\n")
        comments = [line.removeprefix("# ") for line in takewhile(lambda line: line.startswith("# "), lines)]
        names = {}
        for line in lines:
            name, is_one, rest = line.partition(": Final = ")
            value = getattr(module, name, None) if is_one else None
            if isinstance(value, str) and rest.startswith('"') and not name.endswith(("_UNIT", "_PREFIX")):
                comment = _CONSTANTS.sub("one of the values below", rest.partition("  # ")[2])
                names[value] = _CONSTANT.sub(_value, comment)
        if comments and names:
            yield " ".join(comments), names


def _value(found: re.Match[str]) -> str:
    """The value of a constant that a comment names."""
    return f"`{getattr(semconv, found[0])}`" if hasattr(semconv, found[0]) else found[0]


def _entry(name: str, field: FieldInfo, variable: str, description: str) -> Iterator[str]:
    yield f"```{{confval}} {name}\n{description}\n"
    yield f"Type: {_type(field)}. Default: {_default(field)}. Variable: `{variable}`.\n```\n"


def _type(field: FieldInfo) -> str:
    """The type of a setting and its bounds, in words for people."""
    signs = [
        f"{sign} {getattr(one, key):,.10g}"
        for one in field.metadata
        for kind, (key, sign) in _BOUNDS.items()
        if isinstance(one, kind)
    ]
    kinds = [_kind(part) for part in _parts(field.annotation) if part is not type(None)]
    return " or ".join(kinds) + (f", {' and '.join(signs)}" if signs else "")


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; any other type is its only one."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) is not None:
        return "names" if get_origin(annotation) is tuple else "mapping of text"
    known = {str: "text", SecretStr: "text (secret)", bool: "bool", int: "integer", float: "number", Path: "path"}
    return known[annotation]


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None or value == {}:
        return "none"
    if isinstance(value, Path):
        value = value.as_posix().replace(str(Path.home()), "~")
    if isinstance(value, tuple):
        value = ",".join(value)
    if isinstance(value, bool):
        value = str(value).lower()
    return f"`{value}`" + (f" (on {_SYSTEMS.get(sys.platform, sys.platform)})" if field.default_factory else "")


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
