"""A tracker that is down does not move the memory of training and relay; the benchmark at a small size."""

from __future__ import annotations

import pytest
from benchmarks.outage import day

pytestmark = pytest.mark.usefixtures("with_time")

MOST_MIB = 64


@pytest.mark.slow
@pytest.mark.cold
@pytest.mark.whole
def test_memory_of_an_outage(mlflow_server):
    found = day(0.1, mlflow_server.uri)
    assert found["same"] == found["readings"] == 360_000
    assert found["errors"].keys() == {"mlflow does not answer; its readings are kept and sent again"}
    for process, before in found["before_mib"].items():
        assert found["most_mib"][process] - before < MOST_MIB, (process, found)
    assert found["reader_mib"] < MOST_MIB
