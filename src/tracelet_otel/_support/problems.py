"""Says what is wrong with settings, in our words and without their values, which may be secrets. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from pydantic import ValidationError

_LIMITS: Final = {
    "greater_than": "greater than",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "less_than_equal": "at most",
}
_KINDS: Final = {
    "float": "it has to be a number",
    "int": "it has to be a whole number",
    "finite_number": "it has to be a finite number",
    "bool": "it has to be true or false",
    "string": "it has to be text",
    "path": "it has to be a path",
}
"""What a value has to be, by the beginning of the type of pydantic's error."""
_FORMS: Final = {
    "relay_bind": "it has to be a host and a port, as in 127.0.0.1:4318",
    "relay_endpoint": "it has to be an address of a host and a port, as in http://relay:4318",
}
_CHOICES: Final = {"console": "it has to be true, false or 'all'"}
"""Of settings that may be of several types: what they may be."""
_FORM_OF_IDS: Final = "it has to be 1 to 64 letters, digits, '_', '.' or '-', and no '.' comes first"


def problems_of(error: ValidationError, own: Collection[str]) -> str:
    """Describe what is wrong with settings.

    Args:
        error: what pydantic has found.
        own: names of the settings that are read from a variable with our prefix.
    """
    found = error.errors(include_input=False)
    # A setting that may be of several types has a problem with each of them.
    return "; ".join(dict.fromkeys(_problem(_location(item["loc"]), _words(item), own) for item in found))


def _words(problem: Mapping[str, Any]) -> str:
    """Describe what is wrong with a value, in our words and without the value, which may be a secret."""
    kind, context = str(problem["type"]), problem.get("ctx", {})
    choices = _CHOICES.get(str(problem["loc"][0])) if problem["loc"] else None
    if choices is not None:
        return choices
    if kind in _LIMITS:
        return f"it has to be {_LIMITS[kind]} {next(iter(context.values()))}"
    if kind == "string_pattern_mismatch":
        return _FORMS.get(str(problem["loc"][0]), _FORM_OF_IDS)
    if kind == "literal_error":
        return f"it has to be one of {context['expected']}"
    return next((words for start, words in _KINDS.items() if kind.startswith(start)), str(problem["msg"]))


def _location(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Where a problem is, without the type that pydantic has tried."""
    return location[:1] if location and location[0] in _CHOICES else location


def _problem(location: tuple[int | str, ...], message: str, own: Collection[str]) -> str:
    name = ".".join(str(part) for part in location)
    if not name:
        return message.removeprefix("Value error, ")
    return f"{name} (or TRACELET_{name.upper()}): {message}" if name in own else f"{name}: {message}"
