"""Which parts of a journal have samples that wait for other ranks."""

from __future__ import annotations

from tracelet_otel import semconv
from tracelet_otel.protocol.decode import Reading
from tracelet_otel.relay.matches import Source
from tracelet_otel.relay.packing import Share
from tracelet_otel.relay.unmerged import Unmerged


def share(process, rank, *sequences):
    return Share(process, rank, tuple(Reading("a", 0.0, 0, 0, semconv.AXIS_USER, one) for one in sequences))


def test_a_part_goes_when_all_of_it_is_passed_on():
    unmerged = Unmerged({})
    unmerged.add(7, [share("p0", 0, 1, 2), share("p1", 1, 1)])
    unmerged.add(8, [share("p0", 0, 3, 4)])
    assert unmerged.pass_on([Source("p0", 1, 7), Source("p0", 4, 8)]) == []
    stored = unmerged.changes()
    assert stored == {"p0": [(1, 1), (4, 4)]}
    assert unmerged.pass_on([Source("p1", 1, 7)]) == []
    later = Unmerged(stored)
    found = share("p0", 0, 1, 2, 3, 4).readings
    assert [later.is_passed("p0", one) for one in found] == [True, False, False, True]
    assert not later.is_passed("p2", found[0])
    # Only what has changed is to be written, and only of processes that parts of the journal have.
    assert unmerged.changes() == {"p1": [(1, 1)]}
    assert unmerged.pass_on([Source("p0", 2, 7)]) == [7]
    assert unmerged.changes() == {"p0": [(4, 4)], "p1": []}
    assert unmerged.pass_on([Source("p0", 3, 8)]) == [8]
    assert unmerged.changes() == {"p0": []}
    assert unmerged.changes() == {}


def test_a_process_with_two_ranks_in_one_part():
    unmerged = Unmerged({})
    unmerged.add(7, [share("p0", 0, 2, 3), share("p0", 1, 1)])
    unmerged.add(8, [share("p0", 0, 4)])
    assert unmerged.pass_on([Source("p0", 3, 7), Source("p0", 2, 7)]) == []
    assert unmerged.pass_on([Source("p0", 1, 7)]) == [7]
    assert unmerged.pass_on([Source("p0", 4, 8)]) == [8]


def test_a_part_of_which_all_was_passed_on_before_is_done():
    unmerged = Unmerged({"p0": [(1, 2)]})
    assert not unmerged.add(7, [share("p0", 0, 1, 2)])
    assert unmerged.add(8, [share("p0", 0, 3)])
    assert unmerged.changes() == {"p0": []}
