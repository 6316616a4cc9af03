from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tracelet_otel.relay.ranges import IntegerRanges


@given(st.lists(st.integers(0, 30)), st.lists(st.integers(0, 30)))
def test_it_is_a_set_that_survives_its_ranges(before, after):
    model: set[int] = set()
    seen = IntegerRanges()
    for numbers in (before, after):
        for number in numbers:
            assert seen.add(number) == (number not in model)
            model.add(number)
        seen = IntegerRanges(seen.ranges)
    held = [number for first, last in seen.ranges for number in range(first, last + 1)]
    assert held == sorted(model)
    assert all(later - earlier > 1 for (_, earlier), (later, _) in zip(seen.ranges, seen.ranges[1:], strict=False))
