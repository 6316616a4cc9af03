"""Lists the relays that run on this machine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Final

import psutil

from tracelet_otel._support.findings import fine
from tracelet_otel.doctor.findings import Chapter
from tracelet_otel.doctor.quantities import age, size
from tracelet_otel.settings import Settings

_MODULE: Final = "tracelet_otel.relay"
_COMMAND: Final = "tracelet-otel"


@dataclass(frozen=True)
class RunningRelay:
    """A process that is a relay."""

    pid: int
    seconds: float
    """Since it was started."""
    memory_bytes: int


def check_running(_settings: Settings) -> Chapter:
    """List processes that are relays, as far as this user may see them."""
    found = [*_relays()]
    many = "no relay runs" if not found else f"{len(found)} run" + ("s" if len(found) == 1 else "")
    table = [(f"pid {one.pid}", f"for {age(one.seconds)}, {size(one.memory_bytes)}") for one in found]
    return Chapter("relays on this machine", [fine(many)], table, {"relays": [asdict(one) for one in found]})


def is_relay(command: Sequence[str]) -> bool:
    """Whether a command line is that of a relay: one that `start_logging` launches, or `tracelet-otel relay`.

    Args:
        command: the program and its arguments.
    """
    return any(
        (one == "-m" and after == _MODULE) or (one.rpartition("/")[2] == _COMMAND and after == "relay")
        for one, after in pairwise(command)
    )


def _relays() -> Iterator[RunningRelay]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error), process.oneshot():
            if is_relay(process.cmdline()):
                seconds = max(time.time() - process.create_time(), 0.0)
                yield RunningRelay(process.pid, seconds, process.memory_info().rss)
