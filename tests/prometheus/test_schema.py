"""Dashboards are what Grafana's schema says, and the check of that sees what is wrong."""

from __future__ import annotations

import copy

import pytest

from tests.prometheus.dashboard import FILES, load

pytest.importorskip("grafana_foundation_sdk", reason="Grafana's SDK needs Python 3.11")

from tests.prometheus.schema import faults


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def dashboard(request):
    return load(request.param)


def test_the_schema_knows_all_of_it(dashboard):
    assert faults(dashboard) == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["tittle"], "typo"),
        (["graphTooltip"], 7),
        (["panels", 1, "gridPos", "width"], 3),
        (["panels", 1, "gridPos", "w"], "3"),
        (["panels", 1, "options", "textMode"], "big"),
        (["panels", 1, "targets", 0, "expression"], "up"),
        (["panels", 1, "targets", 0, "instant"], "yes"),
        (["panels", 1, "fieldConfig", "defaults", "units"], "watt"),
        (["templating", "list", 1, "refresh"], 9),
        (["templating", "list", 1, "kind"], "query"),
    ],
    ids=lambda value: str(value[-1]) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_seen(dashboard, place, value):
    broken = copy.deepcopy(dashboard)
    inner = broken
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    assert faults(broken)
