"""Each dashboard is one that Grafana knows, and each of its panels shows a real run of two ranks."""

from __future__ import annotations

import json

import pytest

from tests.prometheus.dashboard import FILES, load, panels, queries

WITHOUT_NONE = " or vector(0)"
PROJECT = "digits"
"""Of the run; other tests of the session have others."""


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def dashboard(request):
    return load(request.param)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["alive", "ended"])
def test_every_panel_has_data(dashboard, trained, moment):
    end = getattr(trained, moment)
    found = {
        (query.panel, query.promql): query.series(trained.prometheus, trained.began, end)
        for query in queries(dashboard, trained.prometheus, trained.began, end, run=trained.run, project=PROJECT)
    }
    assert [query for query, series in found.items() if not series] == []


@pytest.mark.slow
def test_no_zero_hides_a_query_without_data(dashboard, trained):
    """What shows 0 where there is nothing has something in this run."""
    hidden = [
        query.panel
        for query in queries(
            dashboard, trained.prometheus, trained.began, trained.alive, run=trained.run, project=PROJECT
        )
        if query.promql.endswith(WITHOUT_NONE)
        and not trained.prometheus.query(query.promql.removesuffix(WITHOUT_NONE), trained.alive)
    ]
    assert hidden == []


def test_panels_lie_beside_each_other(dashboard):
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_all_is_asked_of_the_chosen_data_source(dashboard):
    assert {
        json.dumps(asking["datasource"]) for panel in panels(dashboard) for asking in [panel, *panel["targets"]]
    } == {json.dumps({"type": "prometheus", "uid": "${datasource}"})}
