"""One run in the relay: what is accepted is journalled, then handed to each backend."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from tracelet_otel import semconv
from tracelet_otel.errors import TraceletError
from tracelet_otel.exporters.delivery import Delivery
from tracelet_otel.exporters.reading import Batch
from tracelet_otel.exporters.tracker import Tracker
from tracelet_otel.guard import Guard
from tracelet_otel.relay.journal import Body, Journal
from tracelet_otel.relay.messages import Status
from tracelet_otel.relay.otlp import parse
from tracelet_otel.relay.parts import Part, batches
from tracelet_otel.relay.seen import Seen

_MOST_PROBLEMS: Final = 20
REOPENED: Final[Mapping[str, Any]] = {"ended": False, "outcome": None, "complete": None}
"""What a journal says of a run that goes on."""


class EndedError(TraceletError):
    """The run takes no more."""


class RelayedRun:
    """A run between its journal and its trackers.

    Args:
        journal: of this run; what it holds is delivered first.
        guard: where errors end.
    """

    def __init__(self, journal: Journal, guard: Guard) -> None:
        self._journal = journal
        self._guard = guard
        self._lock = threading.RLock()
        self._deliveries: dict[str, Delivery] = {}
        self._closing = False
        self._complete = False
        self._over = False
        state = journal.state
        self._final = Status.from_line(state["complete"]) if state.get("complete") else None
        if self._final is not None:
            self._closing = self._complete = self._over = True
        self._total: int = state.get("total", 0)
        self._ended: bool = state.get("ended", False)
        self._outcome: str | None = state.get("outcome")
        self._params: dict[str, str] = state.get("params", {})
        self._seen = _seen(state.get("seen", {}))
        self._new_row_s = self._heard_s = time.monotonic()

    @property
    def ended(self) -> bool:
        """Whether the run's owner has ended it."""
        return self._ended

    @property
    def silent_s(self) -> float:
        """Seconds since the last new row."""
        return time.monotonic() - self._new_row_s

    @property
    def unheard_s(self) -> float:
        """Seconds since anything came; a process that is alive sends at each of its export intervals."""
        return time.monotonic() - self._heard_s

    @property
    def problems(self) -> str:
        """What could not be done so far, one to a line; for the owner's log."""
        return "\n".join(list(self._guard.counts)[:_MOST_PROBLEMS])

    @property
    def empty(self) -> bool:
        """Whether it has no row, and no backend knows of it."""
        return not self._total and not self.status.urls

    @property
    def memory(self) -> dict[str, Any]:
        """What a journal has to begin with, where the run goes on after its journal is gone."""
        return {"seen": _ranges(self._seen), "params": self._params}

    @property
    def status(self) -> Status:
        """How far the delivery is."""
        return self._final or Status(
            urls={name: delivery.url for name, delivery in self._deliveries.items() if delivery.url is not None},
            accounts={name: delivery.account for name, delivery in self._deliveries.items()},
            errors=self._guard.counts,
            complete=self._complete,
            over=self._over,
            lost={name: delivery.lost for name, delivery in self._deliveries.items() if delivery.lost is not None},
            journal=str(self._journal.path),
        )

    def hear(self) -> None:
        """Somebody asked for the run: its process is alive."""
        self._heard_s = time.monotonic()

    def reopen(self) -> None:
        """Go on with a run that had ended; the caller has the journal remember `REOPENED`."""
        self._closing = self._complete = self._over = self._ended = False
        self._final = self._outcome = None

    def open(self, trackers: Mapping[str, Tracker], resource: Mapping[str, Any]) -> dict[str, str]:
        """Create or continue the run in each backend, and deliver from now on.

        Returns:
            Where people look at it, by backend.

        Raises:
            TraceletError: a backend does not give us the run.
        """
        deliveries = self._make(trackers)
        urls: dict[str, str] = {}
        for name, delivery in deliveries.items():
            try:
                urls[name] = delivery.open(resource)
            except BaseException:
                for opened in urls:
                    deliveries[opened].close(0)
                raise
        self._feed(deliveries, resource)
        return urls

    def resume(self, trackers: Mapping[str, Tracker], resource: Mapping[str, Any]) -> None:
        """Deliver what the journal holds and what comes, as soon as each backend gives us the run."""
        deliveries = self._make(trackers)
        for delivery in deliveries.values():
            delivery.begin(resource)
        self._feed(deliveries, resource)

    def accept(self, part: Part) -> None:
        """Take what one request has for this run; when this returns, it is on the disk.

        Raises:
            EndedError: the run is closed.
            JournalError: it could not be kept; nothing of it was taken.
        """
        with self._lock:
            self._heard_s = time.monotonic()
            seen = {process: Seen(one.ranges) for process, one in self._seen.items()}
            fresh = [_without_known(batch, seen) for batch in part.batches]
            params = {name: value for batch in part.batches for name, value in batch.params.items()}
            outcome = next((batch.outcome for batch in reversed(part.batches) if batch.outcome), self._outcome)
            ended = self._ended or any(batch.ended for batch in part.batches)
            count = sum(len(batch.readings) for batch in fresh)
            news = count or outcome != self._outcome or ended != self._ended or params.items() - self._params.items()
            if self._closing:
                # What only repeats is well: the last exports of a run overlap with its end.
                if news:
                    raise EndedError("the run has ended")
                return
            if news:
                params = {**self._params, **params}
                state = {"outcome": outcome, "ended": ended, "params": params, "seen": _ranges(seen)}
                repeats = count < sum(len(batch.readings) for batch in part.batches)
                known = _ranges(self._seen) if repeats else None
                self._journal.append(Body(self._total, count, part.request.SerializeToString(), known), state)
                self._params, self._outcome, self._ended, self._seen = params, outcome, ended, seen
                self._total += count
            if count:
                self._new_row_s = time.monotonic()
            for delivery in self._deliveries.values():
                for batch in fresh:
                    delivery.put(batch)

    def close(self, patience_s: float, *, marks: bool = False) -> bool:
        """Deliver what is left and end the run in each backend.

        Args:
            patience_s: give up on a backend that has taken nothing for this long.
            marks: leave a journal that says that all is delivered, until `forget`: who comes after
                a relay that was killed then knows it.

        Returns:
            Whether everything is delivered; then the journal is gone, or marked.
        """
        with self._lock:
            if self._over:
                return self._complete
            self._closing = True
        # Side by side: a backend that is down takes no time from another.
        closing = [
            threading.Thread(target=delivery.close, args=(patience_s,), name=f"tracelet-close-{name}")
            for name, delivery in self._deliveries.items()
        ]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()
        if all(delivery.complete for delivery in self._deliveries.values()) and self._deliveries:
            if marks:
                final = replace(self.status, complete=True, over=True)
                self._journal.remember({"complete": final.line()})
                self._journal.clear()
            else:
                self._journal.remove()
            self._complete = True
        else:
            self._journal.close()
        self._over = True
        return self._complete

    def forget(self) -> None:
        """Remove the journal of a run all of which is delivered."""
        self._journal.remove()

    def discard(self) -> bool:
        """Forget a run that has nothing and that no backend knows of; returns whether it is such."""
        with self._lock:
            if not self.empty:
                return False
            self._closing = True
        for delivery in self._deliveries.values():
            delivery.close(0)
        self._journal.remove()
        self._over = True
        return True

    def _make(self, trackers: Mapping[str, Tracker]) -> dict[str, Delivery]:
        return {
            name: Delivery(tracker, self._guard, self._journal.taken(name), partial(self._taken, name))
            for name, tracker in trackers.items()
        }

    def _feed(self, deliveries: dict[str, Delivery], resource: Mapping[str, Any]) -> None:
        with self._lock:
            state = Batch(resource, (), self._params, self._outcome)
            known = {name: sum(self._journal.taken(name)) for name in deliveries}
            for body in self._journal.bodies():
                position = body.first
                before = None if body.known is None else _seen(body.known)
                for batch in batches(parse(body.content)):
                    new = batch if before is None else _without_known(batch, before)
                    for name, delivery in deliveries.items():
                        delivery.put(replace(new, readings=new.readings[max(known[name] - position, 0) :]))
                    position += len(new.readings)
            for delivery in deliveries.values():
                delivery.put(state)
            self._deliveries = deliveries
        # Until now nobody could have sent anything.
        self._new_row_s = self._heard_s = time.monotonic()

    def _taken(self, backend: str, delivered: int, refused: int) -> None:
        try:
            self._journal.take(backend, delivered, refused)
            deliveries = self._deliveries.values()
            if deliveries and not any(delivery.params_pending for delivery in deliveries):
                accounts = [delivery.account for delivery in deliveries]
                self._journal.forget(min(account.delivered + account.refused for account in accounts))
        except TraceletError as error:
            self._guard.report("the journal does not know what was delivered", error)


def _without_known(batch: Batch, seen: dict[str, Seen]) -> Batch:
    """A batch without what has been there, which is added to `seen`."""
    of_process = seen.setdefault(_process(batch.resource), Seen())
    return replace(batch, readings=tuple(reading for reading in batch.readings if of_process.add(reading.sequence)))


def _seen(ranges: Mapping[str, Iterable[tuple[int, int]]]) -> dict[str, Seen]:
    return {process: Seen((first, last) for first, last in pairs) for process, pairs in ranges.items()}


def _ranges(seen: Mapping[str, Seen]) -> dict[str, list[tuple[int, int]]]:
    return {process: one.ranges for process, one in seen.items()}


def _process(resource: Mapping[str, Any]) -> str:
    # The SDK's own detectors give one instance id to a process and another to its forked child,
    # but only some of them: the pid tells the two apart.
    keys = (semconv.HOST_NAME, semconv.PROCESS_PID, semconv.SERVICE_INSTANCE_ID)
    return "|".join(str(resource.get(key, "")) for key in keys)
