from __future__ import annotations

import json
import math
from argparse import Namespace
from dataclasses import dataclass
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sdk import KeepingExporter, provider, reader
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.hparams import Hyperparameters, flatten
from tracelet_otel.protocol.report_kinds import HPARAMS
from tracelet_otel.protocol.reports import Reports


@dataclass
class Optimizer:
    name: str
    betas: tuple[float, float]


@pytest.mark.parametrize(
    ("params", "flat"),
    [
        ({"lr": 0.1, "model": {"width": 3, "act": None}}, {"lr": 0.1, "model/width": 3, "model/act": None}),
        ({"optimizer": Optimizer("adam", (0.9, 0.99))}, {"optimizer/name": "adam", "optimizer/betas": (0.9, 0.99)}),
        ({"args": Namespace(a=1)}, {"args/a": 1}),
        ({"empty": {}, "list": [1, 2], 3: "number"}, {"empty": {}, "list": [1, 2], "3": "number"}),
        ({}, {}),
        ({"huge": 10**400}, {"huge": 10**400}),
    ],
)
def test_nested_parameters_get_joined_names(params, flat):
    assert dict(flatten(params)) == flat


def test_each_parameter_is_a_point_with_its_number_or_one():
    exporter = KeepingExporter()
    meters = provider(reader(exporter))
    hparams = Hyperparameters(meters, Guard())
    hparams.update({"lr": 0.1, "name": "adam", "bad": math.nan, "flag": True})
    hparams.update({"lr": 0.2, "more": 3, "none": None, "path": PurePosixPath("x/y")})
    meters.shutdown()
    points = exporter.exports[0].resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    found = {(p.attributes[semconv.HPARAM_NAME], p.attributes[semconv.HPARAM_VALUE]): p.value for p in points}
    assert found == {
        ("lr", "0.1"): 0.1,
        ("lr", "0.2"): 0.2,
        ("name", "adam"): 1,
        ("bad", "nan"): 1,
        ("flag", "True"): 1,
        ("more", "3"): 3,
        ("none", "None"): 1,
        ("path", "x/y"): 1,
    }
    params = {report.name: report.param for report in exporter.batches[0].reports}
    texts = {"lr": "0.2", "name": "adam", "bad": "nan", "flag": "True", "more": "3", "none": "None", "path": "x/y"}
    assert {name: param.text for name, param in params.items()} == texts
    assert math.isnan(params["bad"].value)
    values = {"lr": 0.2, "name": "adam", "flag": True, "more": 3, "none": None, "path": "x/y"}
    assert {name: param.value for name, param in params.items() if name != "bad"} == values
    assert type(params["flag"].value) is bool


def test_a_number_beyond_64_bits_is_kept_as_text():
    exporter = KeepingExporter()
    meters = provider(reader(exporter))
    Hyperparameters(meters, Guard()).update({"huge": 10**400})
    meters.shutdown()
    (report,) = exporter.batches[0].reports
    assert (report.param.text, report.param.value) == (str(10**400), 10**400)


VALUES = st.sampled_from([1, 2, "1", True, None])


@given(st.lists(st.tuples(st.sampled_from("abc"), VALUES, st.booleans()), max_size=30))
def test_each_value_that_was_reported_arrives_once_and_in_order(said):
    """Whenever it is collected: the last of each is whether there is a collection after it."""
    exporter = KeepingExporter()
    own = reader(exporter)
    meters = provider(own)
    hparams = Hyperparameters(meters, Guard())
    expected: list[tuple[str, object]] = []
    latest: dict[str, object] = {}
    for name, value, is_collected in said:
        hparams.update({name: value})
        if name not in latest or repr(latest[name]) != repr(value):
            expected.append((name, value))
            latest[name] = value
        if is_collected:
            own.collect()
    meters.shutdown()
    reports = Reports(HPARAMS)
    arrived = [one for batch in exporter.batches for one in reports.add("a process", batch.reports)]
    assert [(one.name, repr(one.param.value)) for one in arrived] == [(name, repr(value)) for name, value in expected]
    # A process that goes on with it knows it all, also when it is told once more.
    again = Reports(HPARAMS, json.loads(json.dumps(reports.state)))
    assert [(one.name, one.param) for one in again.all] == [(one.name, one.param) for one in arrived]
    assert not any(again.has_news("a process", batch.reports) for batch in exporter.batches)


def test_what_was_replaced_is_bounded_and_what_holds_is_not():
    exporter = KeepingExporter()
    own, guard = reader(exporter), Guard()
    meters = provider(own)
    hparams = Hyperparameters(meters, guard)
    hparams.update({"first": 1})
    for value in range(3_000):
        hparams.update({"changes": value})
        if value == 1_500:
            own.collect()
    meters.shutdown()
    reports = exporter.batches[-1].reports
    # Between two collections there were more than are kept: each that is in none of them is counted.
    arrived = {one.param.text for batch in exporter.batches for one in batch.reports if one.name == "changes"}
    assert 0 < 3_000 - len(arrived) == guard.counts["a value of a hyperparameter was dropped"]
    assert [(one.name, one.param.text) for one in reports] == [
        ("first", "1"),
        *(("changes", str(value)) for value in range(1_999, 3_000)),
    ]
