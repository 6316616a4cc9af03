"""The command line of this process, without secrets, and where it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from tracelet_otel import semconv
from tracelet_otel._support.environment import secrets
from tracelet_otel._support.redact import without_secret_arguments
from tracelet_otel._support.text import encodable, shortened
from tracelet_otel.resource.script import is_notebook, script_name

_LONGEST: Final = 500
"""Of an argument, in characters."""
_READ: Final = 20_000
"""How much of an argument is looked at, in characters. What is shown of it is cut after secrets are removed, so that no
half of one is left."""
_ROOM: Final = 4000
"""Of all arguments together, in characters: they are in each export, and in a tag."""


def command_attributes() -> dict[str, str | tuple[str, ...]]:
    """Resource attributes of the command line: the script and its arguments, the interpreter, the working directory.

    A notebook has no arguments: those of its kernel say nothing of it.
    """
    arguments = [] if is_notebook() else list(getattr(sys, "argv", None) or [""])[1:]
    read = (str(argument)[:_READ] for argument in arguments)
    shown = [script_name(), *without_secret_arguments(read, secrets())]
    found: dict[str, str | tuple[str, ...]] = {
        semconv.PROCESS_COMMAND_ARGS: _bounded([encodable(one) for one in shown])
    }
    if sys.executable:
        found[semconv.PROCESS_EXECUTABLE_PATH] = encodable(sys.executable)
    found[semconv.PROCESS_WORKING_DIRECTORY] = encodable(str(Path.cwd()))
    return found


def _bounded(arguments: list[str]) -> tuple[str, ...]:
    """The arguments, each cut to its length, and as many as there is room for; the last one says how many are left."""
    kept: list[str] = []
    left = _ROOM
    for argument in arguments:
        one = shortened(argument, _LONGEST)
        left -= len(one) + 1
        if left < 0:
            return (*kept, f"\N{HORIZONTAL ELLIPSIS} and {len(arguments) - len(kept)} more")
        kept.append(one)
    return tuple(kept)
