"""Names of tags, and tags as one text, in the form of `OTEL_RESOURCE_ATTRIBUTES`. Pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

_OURS: Final = "tracelet."
"""How names of tags begin that users cannot give, as `semconv.NOTE`."""
LONGEST_NAME: Final = 250
"""In characters."""


def parsed(text: str) -> dict[str, str]:
    """Parse tags, as in `team=vision,baseline`: a name without `=` is a tag whose value is empty.

    Names and values are percent-decoded, so that they may hold commas and equal signs.
    """
    pairs = [one.partition("=") for one in text.split(",") if one.strip()]
    return {unquote(name.strip()): unquote(value.strip()) for name, _, value in pairs}


def problem_of(name: str) -> str | None:
    """Why a tag cannot have a name; None where it can."""
    if not name.strip():
        return "a tag needs a name"
    if len(name) > LONGEST_NAME:
        return f"the name of a tag has at most {LONGEST_NAME} characters"
    return f"names that begin with {_OURS!r} are not for users" if name.startswith(_OURS) else None
