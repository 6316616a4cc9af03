"""Why a process is gone, by what it has left."""

from __future__ import annotations

import signal

import pytest

from tracelet_otel.protocol.report_kinds import MAX_VALUE_LENGTH
from tracelet_otel.relay.death import CONTAINER_RESTARTED, GONE, Remains, death_of, first_cause

HEADER = "Fatal Python error: Segmentation fault"
STACK = f"{HEADER}\n\nThread 0x2 (most recent call first):\n  b\n\nCurrent thread 0x1:\n  a\n"
SHOWN = f"{HEADER}\n\nCurrent thread 0x1:\n  a\n\nThread 0x2 (most recent call first):\n  b"
KILLS = "a process of this container was killed for memory (oom_kill rose)"


@pytest.mark.parametrize(
    ("remains", "kind", "message", "stack", "is_crash"),
    [
        (Remains(), "unknown", GONE, "", False),
        (Remains(kills=KILLS), "unknown", f"{GONE}; {KILLS}", "", False),
        (Remains(loss=CONTAINER_RESTARTED), "restart", CONTAINER_RESTARTED, "", False),
        (Remains(status=signal.SIGKILL), "SIGKILL", "killed by SIGKILL", "", False),
        (
            Remains(status=signal.SIGKILL, kills=KILLS),
            "SIGKILL",
            f"killed by SIGKILL; probably out of memory: {KILLS}",
            "",
            False,
        ),
        (
            Remains(status=signal.SIGKILL, kills=KILLS, kills_are_old=True),
            "SIGKILL",
            f"killed by SIGKILL; before that, {KILLS}",
            "",
            False,
        ),
        (Remains(status=signal.SIGTERM, kills=KILLS), "SIGTERM", f"killed by SIGTERM; {KILLS}", "", False),
        # The core was dumped.
        (Remains(status=signal.SIGSEGV | 0x80), "SIGSEGV", "killed by SIGSEGV (segmentation fault)", "", True),
        (Remains(status=signal.SIGSEGV, stack=STACK), "SIGSEGV", "killed by SIGSEGV (segmentation fault)", SHOWN, True),
        (Remains(stack=STACK), "SIGSEGV", "killed by SIGSEGV (segmentation fault)", SHOWN, True),
        # Somebody has handled the first signal, and the process went on.
        (Remains(status=signal.SIGKILL, stack=STACK), "SIGKILL", "killed by SIGKILL", "", False),
        (Remains(status=63), "signal 63", "killed by signal 63", "", False),
        (
            Remains(status=3 << 8),
            "exit status",
            "the process has ended itself with exit status 3 and has reported nothing",
            "",
            False,
        ),
    ],
)
def test_what_is_known_is_said_and_no_more(remains, kind, message, stack, is_crash):
    death = death_of(remains)
    assert (death.failure.type, death.failure.message, death.failure.stacktrace) == (kind, message, stack)
    assert death.is_crash == is_crash


def test_the_thread_that_crashed_is_kept_of_a_long_stack():
    others = "\n\n".join(f"Thread {number} (most recent call first):\n  {'x' * 100}" for number in range(200))
    header, current = "Fatal Python error: Aborted", 'Current thread 0x1 (most recent call first):\n  File "a.py"'
    stack = death_of(Remains(stack=f"{header}\n\n{others}\n\n{current}\n")).failure.stacktrace
    assert stack.startswith(
        f"{header}\n\n{current}\n\nThread 199 (most recent call first):\n  {'x' * 100}\n\nThread 0 "
    )
    assert len(stack) == MAX_VALUE_LENGTH
    # Where a thread without Python got the signal, the main thread comes first.
    stack = death_of(Remains(stack=f"{header}\n\n{others}\n\nExtension modules: a (total: 1)\n")).failure.stacktrace
    assert stack.startswith(f"{header}\n\nThread 199 ")


@pytest.mark.parametrize(
    ("remains", "message"),
    [
        # The launcher kills who is left.
        ([Remains(0, signal.SIGKILL), Remains(1, signal.SIGSEGV)], "rank 1: killed by SIGSEGV (segmentation fault)"),
        ([Remains(1, signal.SIGKILL), Remains(0, signal.SIGTERM)], "rank 1: killed by SIGKILL"),
        ([Remains(0, signal.SIGTERM), Remains(1, signal.SIGKILL)], "rank 0: killed by SIGTERM"),
        ([Remains(0), Remains(1, signal.SIGKILL)], "rank 1: killed by SIGKILL"),
        # A library aborts who misses another.
        ([Remains(0, signal.SIGABRT), Remains(1, signal.SIGBUS)], "rank 1: killed by SIGBUS (bus error)"),
        (
            [Remains(0, signal.SIGTERM), Remains(1, signal.SIGKILL, kills=KILLS)],
            f"rank 1: killed by SIGKILL; probably out of memory: {KILLS}",
        ),
        ([Remains(0, signal.SIGKILL)], "killed by SIGKILL"),
        ([Remains(None, signal.SIGKILL)], "killed by SIGKILL"),
    ],
)
def test_the_first_cause_of_several_deaths(remains, message):
    assert first_cause(remains).failure.message == message
