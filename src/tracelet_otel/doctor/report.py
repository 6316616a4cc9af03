"""Makes all checks, and writes what they have found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final

from tracelet_otel._support.environment import secrets
from tracelet_otel._support.findings import Level, problem
from tracelet_otel._support.redact import without_secrets
from tracelet_otel.doctor.backends import check_backend, check_collector, late
from tracelet_otel.doctor.entry_points import check_entry_points
from tracelet_otel.doctor.findings import Chapter
from tracelet_otel.doctor.gpus import check_gpus
from tracelet_otel.doctor.identity import check_identity
from tracelet_otel.doctor.in_force import check_settings
from tracelet_otel.doctor.installed import check_installed
from tracelet_otel.doctor.journals import check_journals
from tracelet_otel.doctor.lightning import check_lightning
from tracelet_otel.doctor.relay import check_relay
from tracelet_otel.doctor.running import check_running
from tracelet_otel.doctor.sdk_variables import check_sdk_variables
from tracelet_otel.doctor.side_by_side import Begun
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters.otlp.exporter import collector_variables
from tracelet_otel.exporters.registry import absolute
from tracelet_otel.settings import OTLP, Settings, load

_SETTINGS: Final = "settings"
_WITHOUT_SETTINGS: Final[Sequence[tuple[str, Callable[[], Chapter]]]] = (
    ("installed", check_installed),
    ("entry points", check_entry_points),
    ("Lightning", check_lightning),
)
"""The first checks, in the order in which people read what they find, with the title of one that fails."""
_BEFORE_BACKENDS: Final[Sequence[tuple[str, Callable[[Settings], Chapter]]]] = (
    (_SETTINGS, check_settings),
    ("OpenTelemetry", check_sdk_variables),
)
_BEHIND_BACKENDS: Final[Sequence[tuple[str, Callable[[Settings], Chapter]]]] = (
    ("GPUs", check_gpus),
    ("identity", check_identity),
    ("relays on this machine", check_running),
    ("relay", check_relay),
    ("journals", check_journals),
)
_PATIENCE_S: Final = 70.0
"""Longest time for a check, in seconds. Most take some milliseconds; that of a new Lightning imports it."""
_BACKEND_S: Final = 30.0
"""The same for a backend, with the import of its client. What is asked there waits for `exporters.spec.PROBE_S`."""
_LEVEL_WIDTH: Final = max(len(level.value) for level in Level)


def examine(relay: str | None) -> list[Chapter]:
    """Make all checks, side by side.

    Args:
        relay: address of a relay; None for the one that the settings name.
    """
    begun = [_begin(title, check) for title, check in _WITHOUT_SETTINGS]
    try:
        settings = absolute(load({}, None if relay is None else {"relay_endpoint": relay}))
    except ConfigurationError as error:
        wrong = Chapter(_SETTINGS, [problem(str(error), "correct it, and ask again")])
        return [_bare(chapter) for chapter in (*(one.result for one in begun), wrong)]
    begun += [_begin(title, partial(check, settings)) for title, check in _BEFORE_BACKENDS]
    begun += [_begin_backend(backend, settings) for backend in settings.backend]
    if OTLP not in settings.backend and collector_variables():
        begun.append(_begin("collector", check_collector))
    begun += [_begin(title, partial(check, settings)) for title, check in _BEHIND_BACKENDS]
    known = [value.get_secret_value() for value in (settings.api_key, settings.relay_token) if value is not None]
    return [_bare(one.result, known) for one in begun]


def has_problem(chapters: Sequence[Chapter]) -> bool:
    """Whether any finding is a problem."""
    return any(finding.level is Level.PROBLEM for chapter in chapters for finding in chapter.findings)


def as_text(chapters: Sequence[Chapter]) -> str:
    """The chapters for people, and how much is wrong in a last line."""
    texts = ["\n".join([chapter.title, *_lines(chapter)]) for chapter in chapters]
    levels = Counter(finding.level for chapter in chapters for finding in chapter.findings)
    counts = [
        f"{levels[one]} {one.value}{'s' * (levels[one] > 1)}" for one in (Level.PROBLEM, Level.NOTE) if levels[one]
    ]
    return "\n\n".join([*texts, ", ".join(counts) or "nothing is wrong"])


def as_json(chapters: Sequence[Chapter]) -> str:
    """The chapters for programs, as a JSON object."""
    plain = [{name: value for name, value in asdict(chapter).items() if name != "table"} for chapter in chapters]
    return json.dumps({"problem": has_problem(chapters), "chapters": plain}, indent=2)


def _begin(title: str, check: Callable[[], Chapter]) -> Begun[Chapter]:
    late = problem(f"it was not found out within {_PATIENCE_S:.0f} s", "ask again when the machine is less busy")
    return Begun(check, Chapter(title, [late]), partial(_failed, title), _PATIENCE_S)


def _begin_backend(backend: str, settings: Settings) -> Begun[Chapter]:
    title = f"backend {backend}"
    missed = Chapter(title, [late(backend, _BACKEND_S)])
    return Begun(partial(check_backend, backend, settings), missed, partial(_failed, title), _BACKEND_S)


def _failed(title: str, error: Exception) -> Chapter:
    return Chapter(title, [problem(f"the check itself failed: {error!r}", "report it as a bug of tracelet-otel")])


def _bare(chapter: Chapter, known: Sequence[str] = ()) -> Chapter:
    """A copy without secrets. Checks show none on purpose; what libraries say in errors is not theirs."""
    hide = partial(without_secrets, secrets=[*known, *secrets()], by_name=False)
    return Chapter(
        hide(chapter.title),
        [replace(one, text=hide(one.text), mend=hide(one.mend)) for one in chapter.findings],
        [(name, hide(value)) for name, value in chapter.table],
        _hidden(chapter.facts, hide),
    )


def _hidden(value: Any, hide: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, dict):
        return {name: _hidden(one, hide) for name, one in value.items()}
    return [_hidden(one, hide) for one in value] if isinstance(value, (list, tuple)) else value


def _lines(chapter: Chapter) -> Iterator[str]:
    for finding in chapter.findings:
        yield f"  {finding.level.value:<{_LEVEL_WIDTH}}  {finding.text}"
        if finding.mend:
            yield f"  {'':<{_LEVEL_WIDTH}}  -> {finding.mend}"
    width = max((len(name) for name, _ in chapter.table), default=0)
    for name, value in chapter.table:
        yield f"    {name:<{width}}  {value}"
