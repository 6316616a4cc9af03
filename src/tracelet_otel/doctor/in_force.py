"""Checks the settings: which are in force, where each comes from, and variables that are none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from pydantic import SecretStr

from tracelet_otel._support.environment import environment
from tracelet_otel._support.findings import fine, note
from tracelet_otel._support.redact import HIDDEN, without_credentials
from tracelet_otel.doctor.findings import Chapter
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters.registry import options_of, spec_of
from tracelet_otel.settings import Settings, unknown_variables

_DEFAULT: Final = "default"
_ALWAYS: Final = ("project", "backend", "journal_dir")
"""Settings that people are shown also where nobody has given them."""
_OPTION: Final = "--relay"


def check_settings(settings: Settings) -> Chapter:
    """List the settings that are in force and where each comes from, and look for misspelt variables.

    Args:
        settings: as `registry.absolute` returns them.
    """
    unknown = [note(f"there is no setting {one}", "correct its name, or unset it") for one in unknown_variables()]
    values = dict(_values(settings))
    shown = [
        (name, f"{_words(value)}  ({source})")
        for name, (value, source) in values.items()
        if source != _DEFAULT or name in _ALWAYS
    ]
    facts = {name: {"value": value, "source": source} for name, (value, source) in values.items()}
    table = [*shown, ("all others", "default (--json has them)")]
    return Chapter("settings", unknown or [fine("they can be read")], table, facts)


def _values(settings: Settings) -> Iterator[tuple[str, tuple[Any, str]]]:
    """Name, value as JSON can hold it, and source of each setting, those of trackers among them."""
    variables = {name.upper(): name for name, value in environment().items() if value}
    given = settings.model_dump(mode="json", exclude={"options"})
    for name, value in given.items():
        variable = variables.get(f"TRACELET_{name.upper()}")
        source = variable
        if name == "relay_endpoint" and settings.relay_endpoint not in (None, _of(variable)):
            source = _OPTION
        yield name, (_shown(getattr(settings, name), value), source or _DEFAULT)
    for backend in settings.trackers:
        # What is wrong with it is said where it is looked at.
        with suppress(ConfigurationError):
            yield from _options(backend, settings)


def _options(backend: str, settings: Settings) -> Iterator[tuple[str, tuple[Any, str]]]:
    options, variables = options_of(backend, settings), environment()
    given = options.model_dump(mode="json")
    for name, value in given.items():
        variable = spec_of(backend).options.model_fields[name].alias
        source = variable if variable and variables.get(variable) else _DEFAULT
        if name == options.address_field and variables.get("TRACELET_BACKEND_URL"):
            source = "TRACELET_BACKEND_URL"
        yield name, (_shown(getattr(options, name), value), source)


def _of(variable: str | None) -> str | None:
    return environment().get(variable) if variable else None


def _shown(value: Any, plain: Any) -> Any:
    """A value without secrets."""
    if isinstance(value, SecretStr):
        return HIDDEN
    return without_credentials(plain) if isinstance(plain, str) else plain


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={one}" for name, one in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)
