"""Times of rows, against what trackers need of them."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from tracelet_otel.instrumentation.milliseconds import Milliseconds

NAMES = "abc"
rows = st.tuples(
    st.sampled_from([0, 1, 400_000, 1_000_000, 3_000_000]),
    st.integers(0, 2),
    st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
)


@given(st.lists(rows, max_size=40))
@example([(0, 10, ["a"]), (0, 9, ["a"]), (0, 9, ["a"]), (0, 10, ["a"])])
@example([(1_000_000, 1, [f"name {number}"]) for number in range(300)] + [(0, 1, [f"name {0}"])])
def test_no_two_rows_of_a_name_have_a_step_and_a_millisecond_in_common(found):
    milliseconds = Milliseconds()
    now_ns = 5_000_000
    places = set()
    taken = 0
    for later_ns, step, names in found:
        now_ns += later_ns
        time_ns = milliseconds.apart(now_ns, step, tuple(names))
        moved = {(name, step, now_ns // 1_000_000) for name in names} & places
        assert (time_ns > now_ns) if moved else (time_ns == now_ns)
        places |= {(name, step, time_ns // 1_000_000) for name in names}
        taken += len(names)
    assert len(places) == taken


def test_a_clock_that_is_set_back_moves_no_row_without_need():
    milliseconds = Milliseconds()
    assert milliseconds.apart(9_000_000, 1, ("a", "b")) == 9_000_000
    assert milliseconds.apart(5_000_000, 2, ("a",)) == 5_000_000
    assert milliseconds.apart(5_000_000, 1, ("c",)) == 5_000_000
    assert milliseconds.apart(5_000_000, 1, ("b",)) == 10_000_000
