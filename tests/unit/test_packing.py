"""Readings come out of a journal as they went in."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tracelet_otel import semconv
from tracelet_otel.protocol.decode import Reading
from tracelet_otel.relay.packing import Share, pack, pack_shares, unpack, unpack_shares

READINGS = st.lists(
    st.builds(
        Reading,
        name=st.text(),
        value=st.floats(allow_nan=False) | st.integers(-(2**63), 2**63 - 1),
        step=st.integers(-(2**63), 2**63 - 1),
        time_unix_nano=st.integers(0, 2**64 - 1),
        axis=st.sampled_from([semconv.AXIS_TRAINER, semconv.AXIS_USER]),
        sequence=st.integers(1, 2**63),
        stage=st.sampled_from(["fit", ""]),
        epoch=st.none() | st.integers(0, 2**31),
        reduction=st.just(semconv.REDUCTION_MEAN),
        training=st.integers(0, 3),
        world_size=st.integers(1, 1024),
        is_system=st.booleans(),
    )
)


@given(READINGS)
def test_readings_are_the_same_to_their_types(readings):
    found = unpack(pack(readings))
    assert found == readings
    assert [[type(field) for field in one] for one in found] == [[type(field) for field in one] for one in readings]


@given(st.lists(st.builds(Share, st.text(), st.integers(0, 1023), READINGS.map(tuple)), max_size=3))
def test_shares_are_the_same(shares):
    assert unpack_shares(pack_shares(shares)) == shares


def test_nan_is_nan():
    (found,) = unpack(pack([Reading("loss", math.nan, 1, 2, semconv.AXIS_USER, 3)]))
    assert math.isnan(found.value)
