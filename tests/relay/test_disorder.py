"""What chains of collectors make of a stream before a relay gets it: its requests in any order, again, and divided."""

from __future__ import annotations

import itertools
import tempfile
import threading
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.relay.simulated import RESOURCE, Rank, accept
from tests.support.mlflow_store import multiset, stored_run, stored_runs
from tests.support.sidecar import TOKEN
from tests.support.waiting import wait_until
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.base import RunLocation
from tracelet_otel.protocol.requests import by_run
from tracelet_otel.relay.journal import Journal
from tracelet_otel.relay.parts import part_of
from tracelet_otel.relay.run import RelayedRun
from tracelet_otel.relay.sidecar import Sidecar
from tracelet_otel.session.calls import Address, HttpConnection
from tracelet_otel.settings import Settings, load

RUNS = ("one", "two")
RANKS = 3
EXPORTS = 4


class ListTracker:
    """A tracker whose store is a list."""

    name = "list"
    batch_size = 1000

    def __init__(self):
        self.stored, self.outcome = [], None

    def open(self, run):
        return RunLocation("memory")

    def refusals(self, readings):
        return {}

    def log_readings(self, readings):
        self.stored += [(one.name, one.step, one.value) for one in readings]

    def log_params(self, params):
        pass

    def close(self, outcome, end_unix_nano=None):
        self.outcome = outcome


def ranks_of(run_id, world_size=RANKS):
    ranks = [Rank(number, owns_run=number == 0, run_id=run_id, world_size=world_size) for number in range(world_size)]
    for rank in ranks:
        rank.train()
    return ranks


def together(requests):
    """One request with the content of several, as a collector makes it."""
    found = ExportMetricsServiceRequest()
    for request in requests:
        found.resource_metrics.extend(request.resource_metrics)
    return found


def divided(request):
    """A request for each metric that was logged, and one for what is reported of the run, as one that is too large."""
    [resource] = request.resource_metrics
    for scope in resource.scope_metrics:
        each = [[metric] for metric in scope.metrics] if scope.scope.name == semconv.SCOPE_LOGGED else [scope.metrics]
        for metrics in each:
            part = ExportMetricsServiceRequest()
            own = part.resource_metrics.add(resource=resource.resource)
            own.scope_metrics.add(scope=scope.scope).metrics.extend(metrics)
            yield part


@cache
def exports():
    """All requests of the ranks of two runs, divided; what one sends last says that it ends."""
    found = []
    for run_id in RUNS:
        for number, rank in enumerate(ranks_of(run_id)):
            for export in range(EXPORTS):
                for step in range(2 * export, 2 * export + 2):
                    rank.record(step, a=float(step + number), b=float(number))
                if export == EXPORTS - 1:
                    rank.end()
                found += divided(rank.request())
    return found


def means():
    of_a = [("a", step, step + 1.0) for step in range(2 * EXPORTS)]
    return multiset([*of_a, *(("b", step, 1.0) for step in range(2 * EXPORTS))])


@st.composite
def deliveries(draw):
    """All exports in any order, some of them again, in batches of one or several."""
    count = len(exports())
    order = draw(st.permutations([*range(count), *draw(st.lists(st.integers(0, count - 1), max_size=count))]))
    ends = sorted(draw(st.sets(st.integers(1, len(order) - 1))))
    cut = itertools.pairwise([0, *ends, len(order)])
    return [together(exports()[number] for number in order[first:last]) for first, last in cut]


@settings(max_examples=30)
@given(deliveries())
def test_in_any_order_again_and_several_runs_at_once(requests):
    with tempfile.TemporaryDirectory() as home:
        trackers, relayed = {run_id: ListTracker() for run_id in RUNS}, {}
        for run_id, tracker in trackers.items():
            relayed[run_id] = RelayedRun(Journal(Path(home, f"{run_id}.journal")), Guard(), Settings())
            relayed[run_id].resume({"list": tracker}, {**RESOURCE, semconv.RUN_ID: run_id})
        for request in requests:
            for run_id, part in by_run(request).items():
                accept(relayed[run_id], part_of(part))
        assert all(run.known.ended for run in relayed.values())
        assert all(run.close(30) for run in relayed.values())
        for run_id, run in relayed.items():
            assert multiset(trackers[run_id].stored) == means()
            assert (trackers[run_id].outcome, run.status.errors) == ("finished", {})


@contextmanager
def relay_of(home, database, idle_s, rank_timeout):
    """A relay with a journal of its own."""
    config = {"relay_bind": "127.0.0.1:0", "journal_dir": str(home), "rank_timeout": rank_timeout}
    sidecar = Sidecar(load({"backend_url": f"sqlite:///{database}"}, config), TOKEN, idle_s)
    finish = threading.Event()
    serving = threading.Thread(target=sidecar.serve, args=(finish,))
    serving.start()
    try:
        yield lambda *requests: post(sidecar.port, together(requests))
    finally:
        finish.set()
        serving.join(60)


def post(port, request):
    with HttpConnection() as connection:
        answer = connection.post(Address(f"http://127.0.0.1:{port}", TOKEN), request.SerializeToString())
    assert answer.status == 200, answer.data


def logged(ranks, first, last):
    """What each rank sends of some steps: rank 0 logs 0, rank 1 logs 10."""
    for rank, step in itertools.product(ranks, range(first, last)):
        rank.record(step, a=10.0 * ranks.index(rank))
    return [rank.request() for rank in ranks]


def points(database):
    return multiset(point for run in stored_runs(database) for point in run.multiset.elements())


@pytest.mark.slow
def test_a_run_that_moves_to_another_relay_is_one_run_and_has_each_mean_once(tmp_path, database):
    """Between two steps, as where one relay is taken out of the list for good. The first one calls it killed."""
    ranks = ranks_of("moves", 2)
    with relay_of(tmp_path / "from", database, 1, 2) as first, relay_of(tmp_path / "to", database, 60, 2) as second:
        first(*logged(ranks, 0, 5))
        wait_until(lambda: points(database) == multiset(("a", step, 5.0) for step in range(5)), 30, "the first steps")
        second(*logged(ranks, 5, 10))
        wait_until(lambda: points(database) == multiset(("a", step, 5.0) for step in range(10)), 30, "the next ones")
        wait_until(lambda: stored_run(database).status == "KILLED", 30, "the first relay's end of the run")


@pytest.mark.slow
def test_a_step_that_a_move_divides_is_there_once_for_each_relay(tmp_path, database):
    """So a run must not move while it trains: neither relay knows of the other's half."""
    of_both = logged(ranks_of("divided", 2), 0, 1)
    with relay_of(tmp_path / "from", database, 60, 1) as first, relay_of(tmp_path / "to", database, 60, 1) as second:
        first(of_both[0])
        second(of_both[1])
        wait_until(lambda: points(database) == multiset([("a", 0, 0.0), ("a", 0, 10.0)]), 30, "both halves")
