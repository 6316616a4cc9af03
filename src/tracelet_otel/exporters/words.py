"""Tags for trackers whose tags are plain words, and attributes as text. Pure.

A tag is `name:value`, or its name where the value is empty.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from tracelet_otel import semconv
from tracelet_otel._support.text import shortened
from tracelet_otel.protocol.failure import without_failure


def with_tags(words: Iterable[str], tags: Mapping[str, str], longest: int | None = None) -> list[str]:
    """The words of a run after tags of it were set.

    Each tag replaces the word of its earlier value, also where an earlier process has set that. All other words stay.

    Args:
        words: those that the run has.
        tags: the tags by name. The note is left out, and what says why the run failed.
        longest: how many characters a word may have; a longer one is cut. None for any number.
    """
    set_now = {name: value for name, value in without_failure(tags).items() if name != semconv.NOTE}
    bare = {_word(name, "", longest) for name in set_now}
    beginnings = tuple(f"{name}:" for name in set_now)
    kept = [word for word in words if word not in bare and not word.startswith(beginnings)]
    return list(dict.fromkeys([*kept, *(_word(name, value, longest) for name, value in set_now.items())]))


def value_in(words: Iterable[str], name: str) -> str:
    """The value of a tag among the words of a run; empty where it has none."""
    return next((word.removeprefix(f"{name}:") for word in words if word.startswith(f"{name}:")), "")


def attempt_in(text: str) -> int | None:
    """The number of an attempt from the value of its tag (`semconv.RUN_ATTEMPT`); None where it is none."""
    return int(text) if text.isdecimal() else None


def cut(tags: Mapping[str, str], longest: int) -> dict[str, str]:
    """Tags whose word is cut by `with_tags`, by name, each with the reason."""
    whole = {name: _word(name, value, None) for name, value in without_failure(tags).items() if name != semconv.NOTE}
    return {
        name: f"a tag has at most {longest} characters there, {word[:longest]!r} is the beginning of this one"
        for name, word in whole.items()
        if len(word) > longest
    }


def as_text(attribute: str, value: Any) -> str:
    """A resource attribute's value as text. A command line is as a shell takes it, another list has commas.

    Args:
        attribute: its name.
        value: its value.
    """
    if not isinstance(value, (list, tuple)):
        return str(value)
    parts = [str(one) for one in value]
    return shlex.join(parts) if attribute == semconv.PROCESS_COMMAND_ARGS else ", ".join(parts)


def _word(name: str, value: str, longest: int | None) -> str:
    word = f"{name}:{value}" if value else name
    return word if longest is None else shortened(word, longest)
