"""Makes all checks, and writes what they have found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Final

from tracelet_otel.doctor.findings import Chapter, Finding, Level
from tracelet_otel.doctor.journals import check_journals
from tracelet_otel.doctor.relay import check_relay
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.settings import Settings, load, unknown_variables

_CHECKS: Final[Sequence[Callable[[Settings], Chapter]]] = (check_relay, check_journals)
"""In the order in which people read what they find."""
_LEVEL_WIDTH: Final = max(len(level.value) for level in Level)


def examine(relay: str | None) -> list[Chapter]:
    """Make all checks.

    Args:
        relay: address of a relay; None for the one that the settings name.
    """
    try:
        settings = load({}, None if relay is None else {"relay_endpoint": relay})
    except ConfigurationError as error:
        return [Chapter("settings", [Finding(Level.PROBLEM, str(error), "correct it, and ask again")])]
    unknown = [
        Finding(Level.NOTE, f"there is no setting {one}", "correct its name, or unset it")
        for one in unknown_variables()
    ]
    settings_are = Chapter("settings", unknown or [Finding(Level.OK, "they can be read")])
    return [settings_are, *(check(settings) for check in _CHECKS)]


def has_problem(chapters: Sequence[Chapter]) -> bool:
    """Whether any finding is a problem."""
    return any(finding.level is Level.PROBLEM for chapter in chapters for finding in chapter.findings)


def as_text(chapters: Sequence[Chapter]) -> str:
    """The chapters for people."""
    return "\n\n".join("\n".join([chapter.title, *_lines(chapter)]) for chapter in chapters)


def as_json(chapters: Sequence[Chapter]) -> str:
    """The chapters for programs, as a JSON object."""
    plain = [{name: value for name, value in asdict(chapter).items() if name != "table"} for chapter in chapters]
    return json.dumps({"problem": has_problem(chapters), "chapters": plain}, indent=2)


def _lines(chapter: Chapter) -> Iterator[str]:
    for finding in chapter.findings:
        yield f"  {finding.level.value:<{_LEVEL_WIDTH}}  {finding.text}"
        if finding.mend:
            yield f"  {'':<{_LEVEL_WIDTH}}  -> {finding.mend}"
    width = max((len(name) for name, _ in chapter.table), default=0)
    for name, value in chapter.table:
        yield f"    {name:<{width}}  {value}"
