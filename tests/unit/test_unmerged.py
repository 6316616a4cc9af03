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
    unmerged.add(8, [share("p0", 0, 3)])
    assert unmerged.pass_on([Source("p0", 1), Source("p0", 3)]) == []
    assert unmerged.passed == {"p0": [(1, 1), (3, 3)]}
    assert unmerged.pass_on([Source("p1", 1)]) == []
    later = Unmerged(unmerged.passed)
    found = share("p0", 0, 1, 2, 3).readings
    assert [later.is_passed("p0", one) for one in found] == [True, False, True]
    assert not later.is_passed("p2", found[0])
    assert unmerged.pass_on([Source("p0", 2)]) == [7, 8]
    # Nothing that is there needs it any more.
    assert unmerged.passed == {}
