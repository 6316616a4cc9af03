"""Why a process is gone that has not reported its end, by what it has left. Pure.

What is not known is said to be so. Nothing is guessed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from tracelet_otel._support.text import encodable, shortened
from tracelet_otel.protocol.failure import Failure
from tracelet_otel.protocol.report_kinds import MAX_VALUE_LENGTH

GONE: Final = "the process is gone and has reported nothing"
MACHINE_RESTARTED: Final = "the machine was restarted before the process had reported its end"
CONTAINER_RESTARTED: Final = "the container was restarted before the process had reported its end"
ELSEWHERE: Final = "nothing more has come from the process, which was on another machine"
_UNKNOWN: Final = "unknown"
_RESTART: Final = "restart"
_EXIT: Final = "exit status"
_HEADER: Final = "Fatal Python error: "
_CURRENT: Final = "Current thread"
_THREAD: Final = "Thread "
_CRASHES: Final = {
    "SIGSEGV": ("Segmentation fault",),
    "SIGBUS": ("Bus error",),
    "SIGFPE": ("Floating point exception", "Floating-point exception"),
    "SIGILL": ("Illegal instruction",),
    "SIGABRT": ("Aborted",),
}
"""Signals that say that a program is broken, each with what `faulthandler` calls it: Python 3.10 and later."""
_ABORT: Final = "SIGABRT"
_KILL: Final = "SIGKILL"
# How much remains say of the cause; the less the number is, the more.
_BROKEN: Final = 0
_ABORTED: Final = 1
"""Libraries also abort a rank that misses another."""
_NO_MEMORY: Final = 2
_ENDED: Final = 3
_LOST: Final = 4


@dataclass(frozen=True)
class Remains:
    """What is known of a process that is gone."""

    rank: int | None = None
    status: int | None = None
    """How it ended, as `os.wait` returns it; None where that is not known."""
    stack: str = ""
    """What `faulthandler` has written into its file; empty for nothing."""
    kills: str = ""
    """What says that a process of its container was killed for memory; empty where nothing does."""
    kills_are_old: bool = False
    """Whether that was long before this process was gone, so that another one was killed."""
    loss: str = GONE
    """What is said of it where nothing else is known."""


@dataclass(frozen=True)
class Death:
    """Why a process is gone, as a failure of its run."""

    failure: Failure
    is_crash: bool
    """Whether the program was broken. Otherwise somebody or something has ended it."""


def first_cause(all_remains: Sequence[Remains]) -> Death:
    """Why a run has ended of which several processes are gone. A launcher that misses one kills the others.

    Args:
        all_remains: of each process that is gone, in the order of their ends; at least one.
    """
    cause = min(all_remains, key=_strength)
    death = death_of(cause)
    return death if len({one.rank for one in all_remains}) == 1 else of_rank(death, cause.rank)


def of_rank(death: Death, rank: int | None) -> Death:
    """The death with the rank of its process, where that has one."""
    if rank is None:
        return death
    return replace(death, failure=replace(death.failure, message=f"rank {rank}: {death.failure.message}"))


def with_more(death: Death, more: str) -> Death:
    """The death with what else is known."""
    return replace(death, failure=replace(death.failure, message=f"{death.failure.message}, {more}"))


def death_of(remains: Remains) -> Death:
    """Why a single process is gone."""
    name, stack = _signal(remains.status), _stack(remains)
    if name is None and stack:
        name = _signal_of_stack(stack)
    if name is not None:
        kind, message = name, f"killed by {name}"
    elif remains.status is not None:
        code = os.WEXITSTATUS(remains.status)
        kind, message = _EXIT, f"the process has ended itself with exit status {code} and has reported nothing"
    else:
        kind, message = (_UNKNOWN if remains.loss in (GONE, ELSEWHERE) else _RESTART), remains.loss
    if name in _CRASHES:
        message += f" ({_CRASHES[name][0].lower()})"
    if remains.kills:
        means = "before that, " if remains.kills_are_old else "probably out of memory: " if name == _KILL else ""
        message += f"; {means}{remains.kills}"
    return Death(Failure(kind, message, stack), bool(stack) or name in _CRASHES)


def is_no_consequence(remains: Remains) -> bool:
    """Whether a rank is gone for a reason of its own, and not because another one has failed before."""
    return _strength(remains) in (_BROKEN, _NO_MEMORY)


def _strength(remains: Remains) -> int:
    name = _signal(remains.status) or _signal_of_stack(_stack(remains))
    if name in _CRASHES:
        return _ABORTED if name == _ABORT else _BROKEN
    if name == _KILL and remains.kills and not remains.kills_are_old:
        return _NO_MEMORY
    return _ENDED if remains.status is not None else _LOST


def _signal(status: int | None) -> str | None:
    """Name of the signal that has ended a process; None where none has, or nothing is known."""
    if status is None or not os.WIFSIGNALED(status):
        return None
    number = os.WTERMSIG(status)
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _stack(remains: Remains) -> str:
    """What is to be shown of a stack; empty where another signal has ended the process than the one that left it."""
    written, name = encodable(remains.stack).strip(), _signal(remains.status)
    if name is not None and name != _signal_of_stack(written):
        return ""
    header, *parts = written.split("\n\n")
    # The thread that got the signal may be one of many, or none of Python's; the main thread is the last of them.
    threads = [part for part in parts if part.startswith(_THREAD)]
    first = [*(part for part in parts if part.startswith(_CURRENT)), *threads[-1:]]
    return shortened("\n\n".join([header, *first, *(part for part in parts if part not in first)]), MAX_VALUE_LENGTH)


def _signal_of_stack(stack: str) -> str | None:
    title = stack.partition("\n")[0].removeprefix(_HEADER)
    return next((name for name, titles in _CRASHES.items() if title in titles), None)
