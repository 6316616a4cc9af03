"""What of a journal is done with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelet_otel.relay.backlog import Backlog
from tracelet_otel.relay.journal import Journal
from tracelet_otel.relay.merge import Source
from tracelet_otel.relay.seen import Seen


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "run.journal")
    yield journal
    journal.remove()


def test_a_body_goes_when_all_backends_are_done_with_all_of_it(journal):
    backlog = Backlog(journal, ["one", "two"])
    numbers = [journal.append(b"body", {}) for _ in range(2)]
    backlog.add_body(numbers[0], {"p0": [(1, 2)], "p1": [(1, 1)]})
    backlog.add_body(numbers[1], {"p0": [(3, 3)]})
    for backend in ("one", "two"):
        backlog.give(backend, (Source("p0", 1), Source("p1", 1)))
        backlog.give(backend, (Source("p0", 3),))
    backlog.take("one", 2, 0)
    backlog.drop({"one": [Source("p0", 2)], "two": [Source("p0", 2)]})
    assert len(list(journal.bodies())) == 2
    backlog.take("two", 1, 0)
    assert [number for number, _ in journal.bodies()] == numbers[1:]
    backlog.take("two", 1, 1)
    assert list(journal.bodies()) == []
    again = Backlog(journal, ["one", "two", "new"])
    assert (again.counts("one"), again.counts("two"), again.counts("new")) == ((2, 0), (1, 1), (0, 0))
    assert again.is_done("two", Source("p0", 3))
    assert not again.is_done("new", Source("p0", 3))
    assert again.done_by_all("p0").ranges == []


def test_what_all_are_done_with_is_a_copy(journal):
    backlog = Backlog(journal, ["one"])
    backlog.give("one", (Source("p0", 1),))
    backlog.take("one", 1, 0)
    done = backlog.done_by_all("p0")
    assert done.ranges == [(1, 1)]
    done.add(2)
    assert not backlog.is_done("one", Source("p0", 2))


@given(st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)))
def test_what_two_sets_have_in_common(one, other):
    def seen(numbers):
        return Seen((number, number) for number in numbers)

    held = seen(one).common(seen(other)).ranges
    assert [number for first, last in held for number in range(first, last + 1)] == sorted(one & other)
