"""A set of integers that is kept as ranges is the same set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tracelet_otel.relay.ranges import IntegerRanges, stored, to_store

OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["add", "add", "add all", "forget", "write"]), st.integers(1, 30), st.integers(0, 6))
)


@given(OPERATIONS)
def test_whatever_is_done_with_it(operations):
    model: set[int] = set()
    seen = IntegerRanges()
    for what, first, more in operations:
        if what == "add":
            assert seen.add(first) == (first not in model)
            model.add(first)
        elif what == "add all":
            numbers = set(range(first, first + more + 1))
            assert seen.add_all(first, first + more) == (not numbers & model)
            model |= set() if numbers & model else numbers
        elif what == "forget":
            # Whole ranges are forgotten, so some numbers below may stay.
            seen.forget_below(first)
            held = {number for number in model if number in seen}
            assert {number for number in model if number >= first} <= held
            assert all(last >= first for _, last in seen.ranges)
            model = held
        else:
            seen = IntegerRanges(seen.ranges)
        held_numbers = [number for one in seen.ranges for number in range(one[0], one[1] + 1)]
        assert held_numbers == sorted(model)
        assert len(seen) == len(model)
        assert all(later - earlier > 1 for (_, earlier), (later, _) in zip(seen.ranges, seen.ranges[1:], strict=False))
        assert seen.complete_to == next(number for number in range(1, 50) if number not in model) - 1


@given(st.dictionaries(st.text(), st.none() | st.integers()), st.dictionaries(st.text(), st.integers()))
def test_what_a_journal_has_of_each_process(own, of_all):
    state = {"seen": of_all, "other": 1, **to_store("seen", own)}
    assert stored(state, "seen") == {key: value for key, value in {**of_all, **own}.items() if value is not None}
