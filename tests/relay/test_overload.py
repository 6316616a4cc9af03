"""A relay whose disk is slow turns requests away, and loses nothing by it."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

from tests.support.mlflow_store import multiset, stored_run
from tests.support.sdk import provider, reader
from tests.support.waiting import wait_until
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters import registry
from tracelet_otel.instrumentation.own_run import Participation
from tracelet_otel.instrumentation.recorder import Row
from tracelet_otel.instrumentation.signals import make_signals
from tracelet_otel.relay.clock import Clock
from tracelet_otel.relay.journal import Journal
from tracelet_otel.relay.meter import RelayMeter
from tracelet_otel.relay.run import RelayedRun
from tracelet_otel.relay.server import Application, HttpServer, listen
from tracelet_otel.relay.taking import Accepted, take
from tracelet_otel.session.calls import Address
from tracelet_otel.session.transport import relay_exporter
from tracelet_otel.settings import Settings

TOKEN = "the-token-of-this-run"
RANKS = 8
STEPS = 12
BEHIND_S = 0.2
"""For how long a request waits before others are turned away."""
RANK_TIMEOUT_S = 0.9
"""Less than any pause that the relay asks for."""
RESOURCE = {semconv.RUN_ID: "r1", semconv.RUN_NAME: "overload", semconv.PROJECT_NAME: "Default"}
PLACE = "the relay was behind, and requests had to be sent again"


class SlowJournal(Journal):
    """A journal whose disk can be made to hang."""

    def __init__(self, path):
        self.is_well = threading.Event()
        self.is_well.set()
        self.hangs_since_s: float | None = None
        super().__init__(path)

    def write(self, *args, **kwargs):
        if not self.is_well.is_set():
            self.hangs_since_s = self.hangs_since_s or time.monotonic()
            self.is_well.wait(60)
        return super().write(*args, **kwargs)


class Rank:
    """A rank with the real recorder, SDK and sender, which exports when it is told to."""

    def __init__(self, number, port):
        self._number, self.guard = number, Guard()
        address = Address(f"http://127.0.0.1:{port}", TOKEN)
        self._exporter = relay_exporter(lambda: address, lambda: None, self.guard)
        self._reader = reader(self._exporter)
        own = {semconv.RANK: number, "host.name": "simulated", "service.instance.id": f"{number}"}
        self._provider = provider(self._reader, **RESOURCE, **own)
        self._signals = make_signals(self._provider, self.guard, 10, Participation(owns_run=number == 0))

    def log(self, step):
        """Log a row, and have it sent."""
        values = {"a": float(step + self._number)}
        row = Row(time.time_ns(), values, step, semconv.AXIS_TRAINER, "fit", 0, 1, RANKS)
        self._signals.recorder.record(row)
        self._reader.collect()

    @property
    def is_done(self):
        """Whether the relay has all that was logged."""
        return self._exporter.sender.is_idle

    def end(self):
        self._signals.outcome.settle("finished", None)
        self._signals.outcome.end()
        self._provider.shutdown()


class Relay:
    """One in this process, whose run is looked at all the time."""

    def __init__(self, path, settings):
        self.guard, clock = Guard(), Clock()
        self.journal = SlowJournal(path)
        self.run = RelayedRun(self.journal, self.guard, settings, clock)
        self.run.resume(registry.trackers(registry.absolute(settings)), RESOURCE)
        self.most_joined = 0
        meter = RelayMeter(lambda: [self.run.figures])
        application = Application(TOKEN, self._accept, {"r1": self.run.status}.get, self.guard, clock, meter)
        self._server = HttpServer(application, listen("127.0.0.1", 0))
        self.port = self._server.port
        self._stopped = threading.Event()
        self._looking = threading.Thread(target=self._look)

    def begin_to_look(self):
        self._looking.start()

    def _look(self):
        while not self._stopped.wait(0.02):
            self.run.look()

    def _accept(self, requests):
        self.most_joined = max(self.most_joined, *(len(request.resource_metrics) for request in requests))
        return take(requests, lambda _, parts: Accepted(self.run.accept(parts), ""))

    def stop(self):
        self.journal.is_well.set()
        self._stopped.set()
        self._looking.join()
        self._server.stop()

    @property
    def turned_away(self):
        return self.guard.counts.get(PLACE, 0)


@contextmanager
def relay_on(path, settings):
    relay = Relay(path, settings)
    try:
        yield relay
    finally:
        relay.stop()


def test_what_is_turned_away_comes_again_and_nothing_is_lost(tmp_path, database, monkeypatch):
    monkeypatch.setattr("tracelet_otel.relay.intake._BEHIND_S", BEHIND_S)
    settings = Settings(rank_timeout=RANK_TIMEOUT_S, export_interval=0.1)
    with relay_on(tmp_path / "r1.journal", settings) as relay:
        first, second, *others = ranks = [Rank(number, relay.port) for number in range(RANKS)]
        for rank in ranks:
            rank.log(0)
        wait_until(lambda: all(rank.is_done for rank in ranks), 30, "all that a fast disk takes")
        relay.begin_to_look()
        # The value of the first rank waits for those of all others from now on.
        first.log(1)
        wait_until(lambda: first.is_done, 30, "its journal")
        journal = relay.journal
        journal.is_well.clear()
        second.log(1)
        wait_until(
            lambda: journal.hangs_since_s and time.monotonic() > journal.hangs_since_s + BEHIND_S, 30, "a long wait"
        )
        for step in range(1, STEPS):
            for rank in others:
                rank.log(step)
        for step in range(2, STEPS):
            first.log(step)
            second.log(step)
        # By then the pause that the first were asked for is over, and so is the time for which ranks are waited.
        wait_until(lambda: relay.turned_away > len(others), 30, "requests that came again, and too early")
        journal.is_well.set()
        wait_until(lambda: all(rank.is_done for rank in ranks), 60, "all to be taken")
        for rank in reversed(ranks):
            rank.end()
        assert relay.run.close(30)
        assert relay.most_joined > 1
        assert relay.run.status.errors == {PLACE: relay.turned_away}
    assert stored_run(database).multiset == multiset(("a", step, step + (RANKS - 1) / 2) for step in range(STEPS))
    said = "the relay takes nothing; values are kept and sent again"
    assert {place for rank in ranks for place in rank.guard.counts} == {said}
