"""Checks the entry points by which OpenTelemetry and this package find what is installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from tracelet_otel._support.environment import environment
from tracelet_otel._support.findings import Finding, fine, note, problem
from tracelet_otel.doctor.findings import Chapter
from tracelet_otel.exporters.spec import ENTRY_POINTS

_CONFIGURATORS: Final = "opentelemetry_configurator"
_DISTROS: Final = "opentelemetry_distro"
_EXPORTERS: Final = "opentelemetry_metrics_exporter"
_CHOSEN_BY: Final = {_CONFIGURATORS: "OTEL_PYTHON_CONFIGURATOR", _DISTROS: "OTEL_PYTHON_DISTRO"}
_OURS: Final[Mapping[str, tuple[str, ...]]] = {
    "opentelemetry_instrumentor": ("lightning", "nvidia_gpu"),
    "opentelemetry_resource_detector": ("tracelet",),
    _EXPORTERS: ("tracelet",),
}
"""Entry points that this package has to have, beside those of its trackers."""
_ROOT: Final = "tracelet_otel."
_AGAIN: Final = "pip install --force-reinstall --no-deps tracelet-otel"


def check_entry_points() -> Chapter:
    """Look whether each entry point is there, can be loaded, and is the only one of its name."""
    groups = (*_OURS, ENTRY_POINTS, *_CHOSEN_BY)
    found = {group: sorted(entry_points(group=group), key=lambda one: one.name) for group in groups}
    findings = [*_missing(found), *_unloadable(found), *_doubled(found), *_choices(found)]
    facts = {group: {one.name: one.value for one in ones} for group, ones in found.items()}
    return Chapter("entry points", findings or [fine("they give what OpenTelemetry and trackers need")], facts=facts)


def _missing(found: Mapping[str, list[EntryPoint]]) -> Iterator[Finding]:
    trackers = [one.name for one in found[ENTRY_POINTS] if _is_ours(one)]
    wanted = {**_OURS, _EXPORTERS: (*_OURS[_EXPORTERS], *trackers)}
    missing = [
        f"{name} of {group}"
        for group, names in wanted.items()
        for name in names
        if not any(one.name == name and _is_ours(one) for one in found[group])
    ]
    if not trackers:
        missing.append(f"all of {ENTRY_POINTS}")
    if missing:
        yield problem(
            f"entry points of tracelet-otel are missing: {', '.join(missing)}. It is a copy that was not installed, or "
            f"another version's metadata is there",
            _AGAIN,
        )


def _unloadable(found: Mapping[str, list[EntryPoint]]) -> Iterator[Finding]:
    for group, ones in found.items():
        for one in ones:
            try:
                if _is_ours(one) or group == ENTRY_POINTS:
                    one.load()
            except Exception as error:
                distribution = one.dist.name if one.dist else "the package that has it"
                again = _AGAIN if _is_ours(one) else f"install {distribution} again, in a version that fits"
                yield problem(f"{one.name} of {group} ({one.value}) cannot be loaded: {error!r}", again)


def _doubled(found: Mapping[str, list[EntryPoint]]) -> Iterator[Finding]:
    for group, ones in found.items():
        for one in ones if group not in _CHOSEN_BY else ():
            others = [other for other in ones if other.name == one.name and other.value != one.value]
            if _is_ours(one) and others:
                yield problem(
                    f"{one.name} of {group} is there twice: {others[0].value} takes the place of {one.value}, or not",
                    f"uninstall {others[0].dist.name if others[0].dist else 'the other package'}",
                )


def _choices(found: Mapping[str, list[EntryPoint]]) -> Iterator[Finding]:
    """Of configurators and distros, `opentelemetry-instrument` takes one."""
    for group, variable in _CHOSEN_BY.items():
        names, chosen = [one.name for one in found[group]], environment().get(variable)
        kind = group.removeprefix("opentelemetry_")
        if chosen is not None and chosen not in names:
            yield problem(f"{variable} names {chosen!r}, which nothing that is installed has", f"unset {variable}")
        elif not names:
            yield problem(
                f"there is no {kind}, so opentelemetry-instrument sets nothing up", "pip install opentelemetry-distro"
            )
        elif len(names) > 1 and chosen is None:
            yield problem(
                f"{len(names)} {kind}s are installed ({', '.join(_with_package(one) for one in found[group])}): "
                f"opentelemetry-instrument takes the first that it finds",
                f"set {variable} to the one that is meant, or uninstall the others",
            )
        elif len(set(names)) > 1:
            others = ", ".join(name for name in names if name != chosen)
            yield note(f"{variable} takes {kind} {chosen}, and leaves {others}", f"unset {variable}, if that is wrong")


def _is_ours(one: EntryPoint) -> bool:
    return one.value.startswith(_ROOT)


def _with_package(one: EntryPoint) -> str:
    return f"{one.name} of {one.dist.name}" if one.dist else one.name
