"""Takes note of the ends of processes that are no children, at the moment at which they end."""

from __future__ import annotations

import select
import sys
import threading
from collections.abc import Iterable

from tracelet_otel.relay.watched import WatchedProcess


class Ends:
    """Waits for the ends of the processes of all runs of a relay, on one thread, which starts with the first of them.

    What can be known of a process as it ends may be gone a moment later.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = 0
        self._poll: select.epoll | None = None
        self._by_descriptor: dict[int, WatchedProcess] = {}

    def watch(self, one: WatchedProcess) -> None:
        """Have a process take note when it ends, if the system tells."""
        descriptor = one.status.hold()
        if sys.platform != "linux" or descriptor is None:
            return
        with self._lock:
            self._by_descriptor[descriptor] = one
            if self._poll is None:
                self._poll = select.epoll()
                threading.Thread(target=self._wait, args=(self._poll,), name="tracelet-deaths", daemon=True).start()
            self._poll.register(descriptor, select.EPOLLIN)

    def forget(self, processes: Iterable[WatchedProcess]) -> None:
        """Wait for these no more, since their run is over."""
        if sys.platform != "linux":
            return
        with self._lock:
            gone = set(processes)
            for descriptor in [number for number, one in self._by_descriptor.items() if one in gone]:
                one = self._by_descriptor.pop(descriptor)
                if self._poll is not None and not one.has_ended:
                    self._poll.unregister(descriptor)
                one.status.let_go()

    def _wait(self, poll: select.epoll) -> None:
        while True:
            for descriptor, _ in poll.poll():
                with self._lock:
                    ended = self._by_descriptor.get(descriptor)
                    if ended is not None and not ended.has_ended:
                        ended.note(self._ended)
                        self._ended += 1
                        poll.unregister(descriptor)
