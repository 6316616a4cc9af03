"""What a relay tells of itself is what it has done, and what waits."""

from __future__ import annotations

import time

import pytest

from tests.relay.simulated import RESOURCE, Rank, accept
from tests.support.waiting import wait_until
from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters import registry
from tracelet_otel.relay.figures import RelayFigures, RunFigures, TrackerFigures, total
from tracelet_otel.relay.journal import Journal
from tracelet_otel.relay.run import RelayedRun
from tracelet_otel.settings import Settings


def begin(path):
    """A run whose tracker cannot be reached, with values that wait for a tenth of a second."""
    settings = Settings(backend_url="http://127.0.0.1:1", rank_timeout=0.1, export_interval=0.01)
    run = RelayedRun(Journal(path), Guard(), settings)
    run.resume(registry.trackers(registry.absolute(settings)), RESOURCE)
    return run


@pytest.fixture
def run(tmp_path):
    run = begin(tmp_path / "r1.journal")
    yield run
    run._deliveries.close(0)
    run._journal.close()


def logs(rank, step, ago_s, **values):
    rank._time = round((time.time() - ago_s) * 1e9)
    return rank.logs(step, **values)


def about(seconds):
    return pytest.approx(seconds, abs=30)


def test_what_waits_and_since_when(run):
    first, second = Rank(0), Rank(1)
    nothing = RunFigures(open_runs=1, journal_bytes=run._journal.size_bytes, trackers={"mlflow": TrackerFigures()})
    wait_until(lambda: run.figures.trackers["mlflow"].problem, 30, "the first attempt at the tracker")
    reason = run.figures.trackers["mlflow"].problem
    assert total([run.figures]).counts == nothing.counts
    assert run.figures.undelivered_s == run.figures.trackers["mlflow"].lag_s == 0
    accept(run, logs(first, 0, 1000, a=1.0))
    found = run.figures
    assert (found.readings, found.waiting, found.undelivered_s) == (1, 1, about(1000))
    assert found.trackers == {"mlflow": TrackerFigures(problem=reason)}
    part = logs(second, 0, 800, a=3.0)
    accept(run, part)
    accept(run, part)
    accept(run, logs(first, 1, 600, a=1.0))
    accept(run, logs(second, 1, 500, a=1.0))
    accept(run, logs(first, 2, 400, a=1.0))
    found = run.figures
    assert (found.readings, found.waiting, found.undelivered_s) == (5, 1, about(1000))
    assert found.trackers == {"mlflow": TrackerFigures(pending=2, lag_s=about(1000), problem=reason)}
    assert (found.late, found.incomplete, found.open_runs) == (0, 0, 1)
    (pages, free, size) = (
        run._journal._rows(f"PRAGMA {name}")[0][0] for name in ("page_count", "freelist_count", "page_size")
    )
    assert found.journal_bytes == (pages - free) * size > nothing.journal_bytes / 2


def test_lag_is_that_of_the_first_reading_in_memory_or_on_the_disk(run, tmp_path):
    rank = Rank(0, world_size=1)
    for step in range(3):
        accept(run, logs(rank, step, 1000 - 300 * step, a=1.0))
    run._deliveries.close(0)
    run._journal.close()
    later = begin(tmp_path / "r1.journal")
    try:
        (lane,) = later._outbox.lanes
        assert later.figures.trackers["mlflow"].lag_s == about(1000)
        assert lane.first_held is None, "it was read from the journal, and not into memory"
        assert len(lane.first(10)) == 3
        assert later.figures.trackers["mlflow"].lag_s == about(1000)
        lane.take(1, 1)
        assert later.figures.trackers["mlflow"].lag_s == about(400)
        lane.take(1, 0)
        assert (later.figures.trackers["mlflow"].lag_s, later.figures.undelivered_s) == (0, 0)
    finally:
        later._deliveries.close(0)
        later._journal.close()


def test_what_cannot_be_read_is_not_known(run):
    accept(run, Rank(0, world_size=1).logs(0, a=1.0))
    run._journal.close()
    found = run.figures
    assert (found.journal_bytes, found.undelivered_s, found.trackers["mlflow"].lag_s) == (None, None, None)
    assert found.trackers["mlflow"].pending == 1
    assert total([RunFigures(journal_bytes=7, undelivered_s=3.0), found]).undelivered_s is None
    assert total([RunFigures(journal_bytes=7), found]).journal_bytes is None


def test_values_that_lack_a_rank_and_those_that_were_late(run):
    first, second = Rank(0), Rank(1)
    accept(run, second.part())
    for step in (0, 1):
        accept(run, first.logs(step, a=0.0))
    while run._merging.waiting:
        run.look()
    for step in (0, 1):
        accept(run, second.logs(step, a=10.0))
    accept(run, second.logs(2, a=10.0))
    assert (run.figures.late, run.figures.incomplete) == (2, 2)
    assert run.status.accounts["mlflow"].incomplete == 2


def test_what_is_dropped_is_counted_by_tracker(run, monkeypatch):
    monkeypatch.setattr("tracelet_otel.relay.outbox._MOST_RECENT", 0)
    run._outbox._limit_bytes = run._journal.size_bytes + 100_000
    rank = Rank(0, world_size=1)
    rows, step = 0, 0
    while not run.figures.trackers["mlflow"].dropped:
        for _ in range(500):
            rank.record(step, **{f"metric {number}": step / (number + 3) for number in range(4)})
            step += 1
        accept(run, rank.part())
        rows += 2000
    found = run.figures.trackers["mlflow"]
    assert found.dropped == found.refused
    assert (
        found.dropped + found.pending
        == rows
        == run.figures.readings
        == sum(readings for _, readings, _ in run._journal.oldest_rows(10_000, 10**9)) + found.dropped
    )


def test_figures_of_several_runs():
    both = {"a": TrackerFigures(3, 1.0, 0, 1), "b": TrackerFigures(0, 0.0, refused_files=1)}
    fast = RunFigures(1, 10, 2, 100, 0.0, 1, 2, both)
    slow = RunFigures(1, 5, 0, 50, 60.0, 0, 1, {"b": TrackerFigures(2, 60.0, 4, 4, "down", 2)})
    assert total([fast, slow]) == RunFigures(
        2, 15, 2, 150, 60.0, 1, 3, {"a": TrackerFigures(3, 1.0, 0, 1), "b": TrackerFigures(2, 60.0, 4, 4, "down", 3)}
    )
    assert total([]) == RunFigures()
    assert total([slow.counts]) == RunFigures(readings=5, incomplete=1, trackers={"b": TrackerFigures(dropped=4)})


def test_figures_travel_as_json():
    trackers = {"a": TrackerFigures(3, None, 0, 1, "down"), "b": TrackerFigures()}
    figures = RelayFigures({200: 5, 503: 1}, 2.5, 1000, RunFigures(2, 15, 2, None, 60.0, 1, 3, trackers))
    assert RelayFigures.from_line(figures.line()) == figures


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"runs": {}}', '{"runs": {"trackers": {}, "x": 1}, "requests": {}}'])
def test_what_are_no_figures(line):
    with pytest.raises(ValueError, match=r"."):
        RelayFigures.from_line(line)
