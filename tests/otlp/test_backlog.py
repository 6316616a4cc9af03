"""Exports that wait, and how large ones are divided."""

from __future__ import annotations

import pytest

from tests.support.sdk import comparable, exported
from tracelet_otel.exporters.otlp.backlog import Backlog, Waiting
from tracelet_otel.protocol.decode import decode
from tracelet_otel.protocol.metrics_data import divided, sample_count, weight, with_attributes


def waiting(instruments, samples=0, weight=1):
    return Waiting(None, samples, weight, frozenset(("scope", name) for name in instruments))


def left(backlog):
    return list(iter(backlog.take, None))


def test_of_exports_without_samples_the_newest_of_its_instruments_is_kept():
    backlog = Backlog(100)
    exports = [waiting("ab"), waiting("c"), waiting("ab"), waiting("abc", samples=1), waiting("ab"), waiting("a")]
    for export in exports:
        assert backlog.put(export) == 0
    assert left(backlog) == exports[3:]


def test_an_export_with_samples_is_never_replaced():
    backlog = Backlog(100)
    exports = [waiting("a", samples=1), waiting("a", samples=1), waiting("a")]
    for export in exports:
        backlog.put(export)
    assert backlog.samples == 2
    assert left(backlog) == exports


def test_the_oldest_give_way_and_their_samples_are_counted():
    backlog = Backlog(10)
    exports = [waiting("a", samples=number, weight=4) for number in range(1, 6)]
    assert [backlog.put(export) for export in exports] == [0, 0, 1, 2, 3]
    assert left(backlog) == exports[3:]
    assert backlog.put(waiting("a", samples=1, weight=1000)) == 0
    assert backlog.samples == 1


@pytest.mark.parametrize("most", [2, 3, 7, 50, 1000])
def test_parts_say_the_same_as_the_whole(most):
    rows = [{f"metric {number}": step + number / 8 for number in range(4)} for step in range(20)]
    data = exported(rows, end=True)
    parts = list(divided(data, most))
    assert all(weight(part) <= most for part in parts)
    assert sum(map(sample_count, parts)) == sample_count(data) == 80
    whole, *_ = comparable(decode(data))
    found = [batch for part in parts for batch in comparable(decode(part))]
    assert sorted(reading for _, readings, *_ in found for reading in readings) == sorted(whole[1])
    assert {report for _, _, params, *_ in found for report in params} == {*whole[2]}
    assert [ended for *_, ended in found if ended] == [True]
    assert found[-1][-1] is True


def test_attributes_are_added_to_each_resource():
    data = exported([{"a": 1.0}])
    assert with_attributes(data, {}) is data
    (resource,) = (one.resource for one in with_attributes(data, {"rank": 1}).resource_metrics)
    assert resource.attributes["rank"] == 1
    assert resource.attributes["tracelet.run.id"] == "r1"
