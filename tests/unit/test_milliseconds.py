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
@example([(1_000_000, 1, [f"name {number}"]) for number in range(300)] + [(0, 1, ["name 299"]), (0, 1, ["name 0"])])
def test_a_row_follows_the_last_one_of_its_names_and_step(found):
    milliseconds = Milliseconds()
    now_ns = 5_000_000
    last_ms = {}
    for later_ns, step, names in found:
        now_ns += later_ns
        time_ns = milliseconds.apart(now_ns, step, tuple(names))
        free_ms = max(last_ms.get((name, step), -1) for name in names) + 1
        assert time_ns == max(now_ns, free_ms * 1_000_000)
        last_ms.update({(name, step): time_ns // 1_000_000 for name in names})


def test_a_clock_that_is_set_back_moves_no_row_without_need():
    milliseconds = Milliseconds()
    assert milliseconds.apart(9_000_000, 1, ("a", "b")) == 9_000_000
    assert milliseconds.apart(5_000_000, 2, ("a",)) == 5_000_000
    assert milliseconds.apart(5_000_000, 1, ("c",)) == 5_000_000
    assert milliseconds.apart(5_000_000, 1, ("b",)) == 10_000_000
