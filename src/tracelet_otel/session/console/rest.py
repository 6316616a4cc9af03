"""Passes on what is in the pipes of a console process that has died, and what is still printed to them."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable, Sequence
from typing import Final

from tracelet_otel.console.passing import write
from tracelet_otel.session.console.descriptors import PrintedTo

_READ_BYTES: Final = 2**16


def pass_on(places: Sequence[PrintedTo], on_put_back: Callable[[], None]) -> None:
    """Pass on what was printed, put the descriptors back, and go on as long as somebody prints to the pipes.

    Args:
        places: where this process printed to.
        on_put_back: called when its descriptors are put back.
    """
    poll = select.poll()
    targets = {one.source: one.target for one in places}
    for source in targets:
        poll.register(source, select.POLLIN)
    is_put_back = False
    while targets:
        ready = poll.poll(None if is_put_back else 0)
        if not ready:
            # What was printed before is passed on, so what is printed from now on comes after it.
            for one in places:
                one.put_back()
            is_put_back = True
            on_put_back()
        for source, _ in ready:
            if not _pass_on(source, targets[source]):
                poll.unregister(source)
                del targets[source]
    on_put_back()


def _pass_on(source: int, target: int) -> bool:
    """Pass on once; returns whether there may be more, as somebody has the other end open."""
    data = b""
    with contextlib.suppress(OSError):
        data = os.read(source, _READ_BYTES)
    write(target, data)
    return bool(data)
