"""The deliveries of one run, one for each tracker."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.base import RunLocation, Tracker
from tracelet_otel.exporters.delivery import Delivery
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.decode import Batch, Param
from tracelet_otel.relay.outbox import Outbox


class Deliveries:
    """Each takes from a queue of its own in the outbox, on a thread of its own.

    Args:
        outbox: of the run.
        guard: where errors end.
    """

    def __init__(self, outbox: Outbox, guard: Guard) -> None:
        self._outbox = outbox
        self._guard = guard
        self._by_name: dict[str, Delivery] = {}

    def __bool__(self) -> bool:
        """Whether there are any yet."""
        return bool(self._by_name)

    @property
    def urls(self) -> dict[str, str]:
        """Where people look at the run, by tracker, as far as it is known."""
        return {name: one.url for name, one in self._by_name.items() if one.url is not None}

    @property
    def lost(self) -> dict[str, str]:
        """Trackers that take nothing more, and why."""
        return {name: one.lost for name, one in self._by_name.items() if one.lost is not None}

    def accounts(self, unwritten: int) -> dict[str, Account]:
        """How far each is.

        Args:
            unwritten: so many readings have yet to get into any queue.
        """
        accounts = {name: one.account for name, one in self._by_name.items()}
        return {name: replace(one, pending=one.pending + unwritten) for name, one in accounts.items()}

    def unclosed(self, unwritten: int) -> list[str]:
        """Trackers that have not taken everything, or whose run is not closed; see `accounts`."""
        return [name for name, one in self._by_name.items() if unwritten or not one.complete]

    def open(self, trackers: Mapping[str, Tracker], resource: Mapping[str, Any]) -> dict[str, RunLocation]:
        """Create or continue the run in each tracker, on the calling thread; nothing is delivered before `tell`.

        Raises:
            TraceletError: a tracker does not give us the run; none is left open.
        """
        made = self._make(trackers)
        locations: dict[str, RunLocation] = {}
        for name, delivery in made.items():
            try:
                locations[name] = delivery.open(resource)
            except BaseException:
                for opened in locations:
                    made[opened].give_back()
                raise
        self._by_name = made
        return locations

    def begin(self, trackers: Mapping[str, Tracker], resource: Mapping[str, Any]) -> None:
        """Deliver as soon as each tracker gives us the run."""
        made = self._make(trackers)
        for delivery in made.values():
            delivery.begin(resource)
        self._by_name = made

    def tell(self, batch: Batch, params: Sequence[tuple[str, Param]], outcome: str | None) -> None:
        """Say what is not a reading, as new hyperparameters and the outcome; readings are in the outbox."""
        for delivery in self._by_name.values():
            delivery.tell(outcome, batch.end_unix_nano, params)

    def wake(self) -> None:
        """There is something in the outbox."""
        for delivery in self._by_name.values():
            delivery.wake()

    def close(self, patience_s: float) -> None:
        """Deliver what is left and end the run in each tracker.

        Args:
            patience_s: give up on a tracker that has taken nothing for this long.
        """
        # Side by side: a tracker that is down takes no time from another.
        closing = [
            threading.Thread(target=delivery.close, args=(patience_s,), name=f"tracelet-close-{name}")
            for name, delivery in self._by_name.items()
        ]
        for thread, delivery in zip(closing, self._by_name.values(), strict=True):
            try:
                thread.start()
            except RuntimeError:
                # At exit some interpreters start no more threads.
                delivery.close(patience_s)
        for thread in closing:
            if thread.ident is not None:
                thread.join()

    def _make(self, trackers: Mapping[str, Tracker]) -> dict[str, Delivery]:
        return {name: Delivery(tracker, self._guard, self._outbox.lane(name)) for name, tracker in trackers.items()}
