"""Grafana's dashboards of a few trainings, drawn without Grafana: their JSON, and a real Prometheus' answers."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.prometheus.dashboard import STEP_S, load, queries
from tests.prometheus.stack import Prometheus
from tests.support.shipped import SHIPPED, ShippedCollector

from pictures import trainings
from pictures.browser import Shot, take
from pictures.kept import keep_png
from pictures.panels import WIDTH, Series, page

BASE, RANKS, DIVERGED = "cnn-baseline", "cnn-two-ranks", "cnn-lr-0.02"
RUNS: Mapping[str, tuple[object, ...]] = {
    BASE: ("--epochs", 12, "--seconds", 60),
    RANKS: ("--epochs", 20, "--seconds", 120, "--ranks", 2),
    DIVERGED: ("--epochs", 16, "--seconds", 90, "--learning-rate", 0.02, "--diverge"),
    "cnn-lr-0.0005": ("--epochs", 16, "--seconds", 80, "--learning-rate", 5e-4),
    "cnn-lr-0.01": ("--epochs", 12, "--seconds", 90, "--learning-rate", 1e-2),
}
"""Names, and how they are trained, all at once."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a dashboard.

    Args:
        file: name of the dashboard's file, without its suffix.
        rows: the first one, and the one after the last, in the units of `gridPos`.
        run: name of the run that is chosen, if the dashboard is one of a run.
    """

    file: str
    rows: tuple[int, int]
    run: str | None = None
    before_end_s: float = -5.0
    """How long before the run ends the picture is taken, in seconds."""


PARTS = {
    "grafana-run": Part("run", (0, 18), RANKS, 25),
    "grafana-time": Part("run", (41, 58), RANKS, 25),
    "grafana-diverged": Part("run", (0, 26), DIVERGED),
    "grafana-fleet": Part("fleet", (0, 25)),
}


def main() -> None:
    """Train, and keep pictures of the dashboards."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        prometheus = Prometheus(home)
        prometheus.start()
        collector = ShippedCollector(home, "collector.yaml", PROMETHEUS_OTLP_ENDPOINT=prometheus.otlp_endpoint)
        collector.start()
        try:
            settings = {"TRACELET_BACKEND": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
            began = time.time()
            running = {name: trainings.start(home / name, settings, name, *options) for name, options in RUNS.items()}
            ends = {}
            while running:
                name = next((one for one, process in running.items() if process.poll() is not None), "")
                if name:
                    trainings.end(home / name, running.pop(name))
                    ends[name] = time.time()
                time.sleep(0.5)
            collector.stop()
            keep(prometheus, began, ends)
        finally:
            collector.stop()
            prometheus.stop()


def keep(prometheus: Prometheus, began: float, ends: Mapping[str, float]) -> None:
    """Keep a picture of each part.

    Args:
        prometheus: that has the runs.
        began: when the first of them began, in seconds since 1970.
        ends: when each ended.
    """
    with tempfile.TemporaryDirectory() as home:
        shots = []
        for name, part in PARTS.items():
            # All runs are shown when one has ended and others go on.
            end = ends[part.run or BASE] - part.before_end_s
            selector = f'{{tracelet_run_name="{part.run}"}}' if part.run else ""
            seen = prometheus.get(
                "query_range", query=f"max(tracelet_run_outcome_ratio{selector})", start=began, end=end, step=1
            )
            drawn = _drawn(prometheus, part, float(seen["result"][0]["values"][0][0]), end)
            path = Path(home) / f"{name}.html"
            path.write_text(f"<!doctype html><meta charset=utf-8><body style='margin:0'>{drawn}")
            found = re.search(r'height="(\d+)"', drawn)
            assert found is not None
            shots.append(Shot(path.as_uri(), WIDTH, int(found[1]), settle_s=0.2))
        for name, png in zip(PARTS, take(shots), strict=True):
            keep_png(name, png)


def _drawn(prometheus: Prometheus, part: Part, start: float, end: float) -> str:
    dashboard = load(SHIPPED / "grafana" / "dashboards" / f"{part.file}.json")
    chosen = {}
    title = dashboard["title"]
    if part.run:
        selector = f'tracelet_run_outcome_ratio{{tracelet_run_name="{part.run}"}}'
        (run,) = prometheus.label_values(selector, "tracelet_run_id", start, end)
        chosen = {"run": run, "metric": "val/loss", "train": "train/loss_step", "validation": "val/loss"}
        title = f"{title}  ·  project digits  ·  run {part.run}"
    asked = iter(queries(dashboard, prometheus, start, end, **chosen))
    panels = []
    for panel in dashboard["panels"]:
        targets = [(target, next(asked)) for target in panel.get("targets", [])]
        place = panel["gridPos"]
        if not (part.rows[0] <= place["y"] and place["y"] + place["h"] <= part.rows[1]):
            continue
        found: list[Series] = []
        for number, (target, query) in enumerate(targets):
            found += _series(prometheus, target, query.promql, number, (start, end))
        named = {**panel, "title": panel["title"].replace("$metric", chosen.get("metric", ""))}
        panels.append((named, found))
    return page(title, panels, (start, end))


def _series(
    prometheus: Prometheus, target: Mapping[str, Any], promql: str, number: int, span: tuple[float, float]
) -> list[Series]:
    if target["instant"]:
        found = [(labels, [(span[1], value)]) for labels, value in prometheus.query(promql, span[1])]
    else:
        data = prometheus.get("query_range", query=promql, start=span[0], end=span[1], step=STEP_S)
        found = [(one["metric"], [(float(at), float(value)) for at, value in one["values"]]) for one in data["result"]]
    pattern = target.get("legendFormat") or ""
    return [
        Series(re.sub(r"{{(\w+)}}", lambda match, of=labels: of.get(match[1], ""), pattern), labels, number, points)
        for labels, points in found
    ]


if __name__ == "__main__":
    main()
