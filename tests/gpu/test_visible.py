"""Which devices `CUDA_VISIBLE_DEVICES` leaves visible."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.gpu.observing import uuids
from tests.gpu.stand_in import machine, mig_uuid, uuid, with_migs
from tracelet_otel.gpu.visible import visible

ALIKE = {"2.uuid": "GPU-aaaa1111-0000", "3.uuid": "GPU-aaaa2222-0000"}
"""Two of four GPUs whose UUIDs begin alike."""


@dataclass(frozen=True)
class Named:
    uuid: str | None


GPUS = [Named(uuid(0)), Named(uuid(1)), Named(ALIKE["2.uuid"]), Named(ALIKE["3.uuid"])]
MIGS = [Named(mig_uuid(0, 0)), Named(mig_uuid(0, 1))]

FORMS = [
    pytest.param(None, [0, 1, 2, 3], id="unset"),
    pytest.param("0", [0], id="one"),
    pytest.param("0,1", [0, 1], id="several"),
    pytest.param("3,2,1,0", [3, 2, 1, 0], id="reversed"),
    pytest.param(" 1,\t2", [1, 2], id="leading whitespace"),
    pytest.param("+1,02", [1, 2], id="a sign, a leading zero"),
    pytest.param("1gpu2,2 3", [1, 2], id="what follows digits"),
    pytest.param("-0", [0], id="minus nothing"),
    pytest.param("", [], id="empty"),
    pytest.param(",0", [], id="an empty element first"),
    pytest.param("0,,1", [0], id="an empty element"),
    pytest.param("-1", [], id="minus one"),
    pytest.param("0,-1,1", [0], id="minus one in between"),
    pytest.param("0,-3", [0], id="negative"),
    pytest.param("NoDevFiles", [], id="a word"),
    pytest.param("1,none,0", [1], id="a word in between"),
    pytest.param("0,4,1", [0], id="out of range"),
    pytest.param("0," + "9" * 5000, [0], id="out of any range"),
    pytest.param("\u0661", [], id="a digit of another script"),
    pytest.param("1,0,1", [], id="twice"),
    pytest.param("1,9,1", [1], id="twice, once after the end"),
    pytest.param(uuid(1), [1], id="UUID"),
    pytest.param(f"{uuid(1)},{uuid(0)}", [1, 0], id="UUIDs"),
    pytest.param("GPU-aaaa1", [2], id="UUID prefix"),
    pytest.param("GPU-aaaa", [], id="ambiguous prefix"),
    pytest.param(f"{uuid(0)},GPU-aaaa,{uuid(1)}", [0], id="ambiguous prefix in between"),
    pytest.param("GPU-ffff", [], id="unknown UUID"),
    pytest.param("GPU-aaaa1,GPU-aaaa11", [], id="twice by different prefixes"),
    pytest.param(f"{uuid(1)},0", [1], id="an index among UUIDs"),
    pytest.param(f"1,{uuid(0)}", [1], id="a UUID among indices"),
    pytest.param(f"{uuid(1)}, {uuid(0)}", [1], id="whitespace before a UUID"),
    pytest.param(f"{uuid(1)},{mig_uuid(0, 0)}", [1], id="a MIG device among GPUs"),
]


@pytest.mark.parametrize(("value", "indices"), FORMS)
def test_forms(value, indices):
    assert visible(value, GPUS, MIGS) == tuple(GPUS[index] for index in indices)


@pytest.mark.parametrize(
    ("value", "places"),
    [
        (mig_uuid(0, 1), [1]),
        (f"{mig_uuid(0, 1)},{mig_uuid(0, 0)}", [1, 0]),
        (f"{mig_uuid(0, 1)},{mig_uuid(0, 1)}", []),
        (f"{mig_uuid(0, 0)},{uuid(0)}", [0]),
        (mig_uuid(0, 1)[:-1], []),
        ("MIG-", []),
    ],
)
def test_mig_devices(value, places):
    assert visible(value, GPUS, MIGS) == tuple(MIGS[place] for place in places)


def test_a_device_that_does_not_tell_its_uuid_keeps_its_index():
    silent = [Named(uuid(0)), Named(None), Named(uuid(2))]
    assert visible("2,1", silent, []) == (silent[2], silent[1])
    assert visible("GPU-", silent, []) == ()


ELEMENTS = st.one_of(
    st.sampled_from([str(one.uuid) for one in GPUS + MIGS]),
    st.sampled_from([one.uuid[:8] for one in GPUS if one.uuid]),
    st.integers(-2, 6).map(str),
    st.text(max_size=6),
)


@given(st.one_of(st.text(), st.lists(ELEMENTS, max_size=6).map(",".join)))
@example("0" * 5000)
def test_any_text_gives_distinct_devices(value):
    found = visible(value, GPUS, MIGS)
    assert len(set(found)) == len(found)
    assert set(found) <= set(GPUS) or set(found) <= set(MIGS)


@given(st.lists(st.integers(0, len(GPUS) - 1), unique=True))
def test_what_is_named_by_index_or_uuid_is_visible_in_that_order(indices):
    expected = tuple(GPUS[index] for index in indices)
    assert visible(",".join(map(str, indices)), GPUS, MIGS) == expected
    assert visible(",".join(str(one.uuid) for one in expected), GPUS, MIGS) == expected


def test_what_is_observed(nvml, observe):
    nvml.plays(with_migs(machine(4, **ALIKE), 0, 2))
    child = observe(nvml.environment)
    for value, indices in (form.values for form in FORMS if form.id != "unset"):
        child("set_environment", "CUDA_VISIBLE_DEVICES", value)
        child("stop")
        child("resume")
        assert set(uuids(child.series())) == {GPUS[index].uuid for index in indices}, value
    assert child("counts") == {}


def test_without_the_variable_all_gpus_are_observed(nvml, observe):
    nvml.plays(machine(4))
    assert uuids(observe(nvml.environment).series()) == [uuid(index) for index in range(4)]


def test_a_script_that_sets_the_variable_is_obeyed(nvml, observe):
    nvml.plays(machine(2))
    child = observe(nvml.environment)
    child("set_environment", "CUDA_VISIBLE_DEVICES", "1")
    assert uuids(child.series()) == [uuid(1)]
