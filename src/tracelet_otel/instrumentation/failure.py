"""Why a training failed: the exception that ended it, as text that may be shown. Pure."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from typing import Final

from tracelet_otel._support.redact import without_secrets
from tracelet_otel._support.text import encodable
from tracelet_otel.protocol.failure import Failure
from tracelet_otel.protocol.report_kinds import MAX_VALUE_LENGTH

_LEFT_OUT: Final = "…\n"
"""In the place of a long traceback's beginning: the end says what was raised, and where."""


def failure_of(error: BaseException, secrets: Iterable[str] = ()) -> Failure:
    """Describe an exception, without a reference to it: that would keep all that its frames hold in memory.

    Args:
        error: the exception.
        secrets: texts that must not be shown.
    """
    told = traceback.TracebackException.from_exception(error)
    kept = list(secrets)
    stacktrace = _shown("".join(told.format()), kept)
    if len(stacktrace) > MAX_VALUE_LENGTH:
        stacktrace = _LEFT_OUT + stacktrace[len(_LEFT_OUT) - MAX_VALUE_LENGTH :]
    return Failure(type_name(error), _shown(_message(error), kept)[:MAX_VALUE_LENGTH], stacktrace)


def type_name(error: BaseException) -> str:
    """Name of an exception's type, with its module where it is not Python's own."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as problem:
        return f"<its message cannot be had: {type_name(problem)}>"


def _shown(text: str, secrets: Iterable[str]) -> str:
    return encodable(without_secrets(text, secrets))
