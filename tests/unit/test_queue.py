"""Queues of readings for trackers, in a journal."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelet_otel import semconv
from tracelet_otel._support.guard import UNDELIVERED, Guard
from tracelet_otel.protocol.decode import Reading
from tracelet_otel.relay.journal import Journal
from tracelet_otel.relay.outbox import Outbox


def readings(*values):
    return [Reading("loss", value, 0, 1, semconv.AXIS_USER, value + 1) for value in values]


def values(found):
    return [one.value for one in found]


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "run.journal")
    yield journal
    journal.remove()


def counts(queue):
    return queue.delivered, queue.refused, queue.pending


def test_rows_go_when_all_trackers_are_done_with_them(journal):
    outbox = Outbox(journal, 2**30, Guard())
    one, two = outbox.lane("one"), outbox.lane("two")
    outbox.write(readings(0, 1))
    outbox.write(readings(2))
    for lane in (one, two):
        assert values(lane.first(9)) == [0, 1, 2]
    one.take(3, 0)
    assert journal.readings_after(0) == 3
    two.take(1, 0)
    assert journal.readings_after(0) == 3
    two.take(0, 1)
    assert journal.readings_after(0) == 1
    two.take(1, 0)
    assert (journal.readings_after(0), counts(one), counts(two)) == (0, (3, 0, 0), (2, 1, 0))


def test_a_tracker_goes_on_where_it_was_and_a_new_one_begins_with_what_is_there(journal):
    outbox = Outbox(journal, 2**30, Guard())
    lane = outbox.lane("one")
    outbox.write(readings(0, 1, 2))
    lane.first(2)
    lane.take(1, 1)
    later = Outbox(journal, 2**30, Guard())
    again, new = later.lane("one"), later.lane("new")
    later.write(readings(3))
    assert (values(again.first(9)), counts(again)) == ([2, 3], (1, 1, 2))
    assert (values(new.first(9)), counts(new)) == ([0, 1, 2, 3], (0, 0, 4))


def test_what_a_lost_tracker_does_not_get_stays_in_the_journal(journal):
    outbox = Outbox(journal, 2**30, Guard())
    lost, other = outbox.lane("lost"), outbox.lane("other")
    outbox.write(readings(0, 1))
    lost.lose()
    other.first(9)
    other.take(2, 0)
    outbox.write(readings(2))
    assert counts(lost) == (0, 3, 0)
    assert counts(Outbox(journal, 2**30, Guard()).lane("lost")) == (0, 0, 3)


def test_a_full_journal_drops_the_oldest_rows_for_who_has_not_taken_them(journal, caplog):
    guard = Guard()
    outbox = Outbox(journal, 400_000, guard)
    down, well = outbox.lane("down"), outbox.lane("well")
    written, got = 0, []
    for _ in range(200):
        outbox.write(readings(*range(written, written + 1_000)))
        written += 1_000
        down.first(1)  # it tries the same again and again
        got += values(well.first(1_000))
        well.take(1_000, 0)
    assert journal.size_bytes < 500_000  # what is in memory as well stays
    assert got == list(range(written))
    assert counts(well) == (written, 0, 0)
    assert down.refused > 0
    assert down.refused + down.pending == written
    left = []
    while found := down.first(1_000):
        left += values(found)
        down.take(len(found), 0)
    # What it had in its hands when they were dropped, and the newest.
    assert left == [*range(1_000), *range(1_000 + down.refused, written)]
    assert guard.counts[UNDELIVERED] == down.refused
    assert caplog.text.count("so much waits for down that its oldest values were dropped") == 1


def test_a_row_of_which_a_tracker_has_a_part_may_be_gone_when_it_is_back(journal):
    """It was left out for a while, and the others are done with the row."""
    outbox = Outbox(journal, 2**30, Guard())
    away, other = outbox.lane("away"), outbox.lane("other")
    outbox.write(readings(*range(10)))
    away.first(4)
    away.take(4, 0)
    alone = Outbox(journal, 2**30, Guard())
    other = alone.lane("other")
    other.first(99)
    other.take(10, 0)
    alone.write(readings(10, 11))
    both = Outbox(journal, 2**30, Guard())
    away, other = both.lane("away"), both.lane("other")
    assert (values(away.first(99)), away.pending) == ([10, 11], 2)
    assert (values(other.first(99)), other.pending) == ([10, 11], 2)


def test_what_all_trackers_have_is_not_kept_in_memory(journal):
    outbox = Outbox(journal, 2**30, Guard())
    lane = outbox.lane("one")
    tracemalloc.start()
    try:
        for value in range(3_000):
            outbox.write(readings(value))
            lane.first(1)
            lane.take(1, 0)
        # Half of what the readings would take. Smaller objects wait for Python's search for garbage.
        assert tracemalloc.get_traced_memory()[0] < 3_000 * 330 / 2
    finally:
        tracemalloc.stop()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 30)),
        st.tuples(st.sampled_from(["one", "two"]), st.integers(1, 40)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS, st.integers(1, 50))
def test_each_tracker_gets_everything_once_and_in_order_across_restarts(tmp_path_factory, steps, recent):
    path = tmp_path_factory.mktemp("queue") / "run.journal"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tracelet_otel.relay.outbox._MOST_RECENT", recent)
        patch.setattr("tracelet_otel.relay.outbox._LONGEST_ROW", 7)
        journal = Journal(path)
        outbox = Outbox(journal, 2**30, Guard())
        lanes = {name: outbox.lane(name) for name in ("one", "two")}
        got: dict[str, list[float]] = {"one": [], "two": []}
        written = 0
        for what, number in steps:
            if what == "write":
                outbox.write(readings(*range(written, written + number)))
                written += number
            elif what == "restart":
                journal.close()
                journal = Journal(path)
                outbox = Outbox(journal, 2**30, Guard())
                lanes = {name: outbox.lane(name) for name in ("one", "two")}
            else:
                found = lanes[what].first(number)
                assert len(found) == min(number, written - len(got[what]))
                got[what] += values(found)
                lanes[what].take(len(found) // 2, len(found) - len(found) // 2)
            for name, lane in lanes.items():
                assert (lane.delivered + lane.refused, lane.pending) == (len(got[name]), written - len(got[name]))
        least = min(map(len, got.values()))
        assert all(found == list(range(len(found))) for found in got.values())
        # Rows that all are done with are gone.
        assert journal.readings_after(0) < written - least + 7
        journal.remove()
