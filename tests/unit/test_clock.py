"""The clock of a relay stands still while it turns requests away."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelet_otel.relay.clock import Clock


@given(st.lists(st.tuples(st.integers(0, 20), st.none() | st.integers(0, 20)), max_size=12))
def test_what_passes_is_the_time_in_no_pause(events):
    with pytest.MonkeyPatch.context() as patch:
        now = [1000]
        patch.setattr(time, "monotonic", lambda: float(now[0]))
        clock = Clock()
        began = clock()
        stopped: set[int] = set()
        for passes, pause in events:
            now[0] += passes
            if pause is not None:
                clock.stop(pause)
                stopped |= set(range(now[0], now[0] + pause))
            assert clock() - began == len(set(range(1000, now[0])) - stopped)
