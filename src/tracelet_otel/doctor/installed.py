"""Checks what is installed."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from typing import Final

from tracelet_otel._support.findings import Finding, fine, problem
from tracelet_otel._support.private_names import LIGHTNING
from tracelet_otel.doctor.findings import Chapter
from tracelet_otel.doctor.versions import installed, is_met

_OWN: Final = "tracelet-otel"
_SHOWN: Final = ("torch", *LIGHTNING.packages.values(), "opentelemetry-sdk", "opentelemetry-distro")
_NOT_INSTALLED: Final = "not installed"
_REQUIREMENT: Final = re.compile(r"""([\w.-]+)[^;]*(?:;.*extra == ['"]([\w-]+)['"])?""")
"""A requirement in the metadata of a package: the distribution, and the extra that asks for it."""


def check_installed() -> Chapter:
    """Look for what is missing or too old, and for what each extra has installed. Lightning has a check of its own."""
    asked = _requirements()
    versions = {
        "python": platform.python_version(),
        **{name: installed(name) for name in (_OWN, *_SHOWN)},
        **{name: installed(name) for name, extra, _ in asked if extra},
    }
    extras: dict[str, list[str]] = {}
    for name, extra, _ in asked:
        if extra:
            extras.setdefault(extra, []).append(name)
    has = {extra: all(versions[name] for name in names) for extra, names in extras.items()}
    table = [(name, found or _NOT_INSTALLED) for name, found in versions.items()]
    table.append(("extras that are installed", ", ".join(extra for extra, there in has.items() if there) or "none"))
    findings = [*_conflicts(asked)]
    well = fine("what tracelet-otel needs is there, in versions that it supports")
    return Chapter("installed", findings or [well], table, {"versions": versions, "extras": has})


def _requirements() -> list[tuple[str, str, str]]:
    """What the package asks for: distribution, extra (empty for what is always needed) and the requirement."""
    try:
        lines = requires(_OWN) or []
    except PackageNotFoundError:
        return []  # `check_entry_points` says so
    found = [(_REQUIREMENT.match(line), line.partition(";")[0].strip()) for line in lines]
    asked = [(match[1], match[2] or "", requirement) for match, requirement in found if match]
    # The extra `all` names the package itself.
    return [one for one in asked if one[0] != _OWN and one[1] not in ("testing", "all")]


def _conflicts(asked: list[tuple[str, str, str]]) -> Iterator[Finding]:
    for name, extra, requirement in asked:
        there = installed(name)
        # An extra may be left out, and what is installed of it has to be new enough.
        if not is_met(requirement) and (there or not extra):
            what = f"{name} {there}" if there else f"{name} is not installed"
            yield problem(f"tracelet-otel needs {requirement}, and {what}", f"pip install '{requirement}'")
