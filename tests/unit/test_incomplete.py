"""What a run says of values that were merged without a rank."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.protocol.decode import Reading
from tracelet_otel.relay.incomplete import Incomplete
from tracelet_otel.relay.matches import Late, Merged, Source
from tracelet_otel.relay.ranges import stored


def merged(name: str, step: int) -> Merged:
    return Merged(Reading(name, 0.0, step, 0, semconv.AXIS_TRAINER, 1), [], lacks=0b10)


def late(name: str, step: int) -> Late:
    return Late(Reading(name, 0.0, step, 0, semconv.AXIS_TRAINER, 1), 1, Source("p1", 1, 0))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60), st.booleans()), max_size=80))
def test_each_name_and_step_counts_once_and_the_next_relay_goes_on(noted):
    state: dict = {}
    incomplete = Incomplete(Guard(), {})
    for name, step, is_late in noted:
        if is_late:
            incomplete.note_late(late(name, step))
        else:
            incomplete.note(merged(name, step))
        state |= json.loads(json.dumps(incomplete.changes()))
    values = {(name, step) for name, step, _ in noted}
    assert incomplete.count == incomplete.found == len(values)
    by_name = {name: sum(one == name for one, _ in values) for name in dict.fromkeys(name for name, _, _ in noted)}
    assert list(incomplete.errors.values()) == list(by_name.values())
    after = Incomplete(Guard(), stored(state, "incomplete"))
    assert (after.count, after.errors) == (incomplete.count, incomplete.errors)


def test_what_is_stored_does_not_grow_with_the_run():
    incomplete = Incomplete(Guard(), {})
    sizes = []
    for step in range(0, 50 * 5_000, 50):
        incomplete.note(merged("loss", step))
        sizes.append(len(json.dumps(incomplete.changes())))
    assert max(sizes) <= sizes[9] + 20
    first = ", ".join(str(50 * number) for number in range(10))
    assert incomplete.errors == {f"'loss' lacks values of ranks at steps {first} and 4990 more": 5_000}


def test_names_beyond_those_that_are_listed_are_counted():
    incomplete = Incomplete(Guard(), {})
    for number in range(25):
        incomplete.note(merged(f"name {number}", 3))
    assert len(incomplete.errors) == 21
    assert incomplete.errors["5 more names lack values of ranks"] == 5
    assert sum(incomplete.errors.values()) == incomplete.count == 25


def test_it_is_asked_for_while_it_changes():
    incomplete = Incomplete(Guard(), {})
    done = threading.Event()

    def ask() -> int:
        asked = 0
        while not done.is_set() or not asked:
            assert sum(incomplete.errors.values()) <= incomplete.count
            asked += 1
        return asked

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        for step in range(0, 60_000, 3):
            incomplete.note(merged(f"{step % 40}", step))
        done.set()
        assert all(one.result() for one in asking)
