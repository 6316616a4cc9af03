"""What Grafana asks Prometheus for when somebody opens a dashboard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.prometheus.stack import Labels, Prometheus
from tests.support.shipped import SHIPPED

FILES = sorted((SHIPPED / "grafana" / "dashboards").glob("*.json"))
STEP_S = 5


@dataclass(frozen=True)
class Query:
    """One of a panel."""

    panel: str
    promql: str
    instant: bool

    def series(self, prometheus: Prometheus, start: float, end: float) -> list[Labels]:
        """The series that it has data of."""
        if self.instant:
            return [labels for labels, _ in prometheus.query(self.promql, end)]
        return [labels for labels, _ in prometheus.query_range(self.promql, start, end, STEP_S)]


def queries(
    dashboard: Mapping[str, Any], prometheus: Prometheus, start: float, end: float, **chosen: str
) -> list[Query]:
    """All of its panels', with variables as Grafana fills them.

    What is not `chosen` is the first value that there is, or all where several may be.
    """
    values = {
        "__range": f"{end - start:.0f}s",
        "__range_s": f"{end - start:.0f}",
        "__interval": f"{STEP_S}s",
        "__rate_interval": "60s",
    }
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "datasource":
            continue
        found = _options(variable, values, prometheus, start, end)
        assert found, f"the variable {variable['name']} has no values"
        if name := chosen.get(variable["name"]):
            assert name in found
            found = [name]
        values[variable["name"]] = _chosen(variable, found)
    return [
        Query(panel["title"], _filled(target["expr"], values), target["instant"])
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Those that show something."""
    return (panel for panel in dashboard["panels"] if panel["type"] != "row")


def load(path: Path) -> dict[str, Any]:
    dashboard: dict[str, Any] = json.loads(path.read_text())
    return dashboard


def _options(
    variable: Mapping[str, Any], values: Mapping[str, str], prometheus: Prometheus, start: float, end: float
) -> list[str]:
    query = _filled(variable["query"]["query"], values)
    if asked := re.fullmatch(r"label_values\((.+), (\w+)\)", query):
        texts = prometheus.label_values(asked[1], asked[2], start, end)
    else:
        asked = re.fullmatch(r"query_result\((.+)\)", query)
        assert asked, query
        # As Grafana writes a result, before the variable's expression is applied to it.
        texts = [
            "{"
            + ", ".join(f'{name}="{text}"' for name, text in sorted(labels.items()))
            + f"}} {value:g} {end * 1e3:.0f}"
            for labels, value in prometheus.query(asked[1], end)
        ]
    if not variable["regex"]:
        return texts
    written = re.fullmatch(r"/(.+)/(i?)", variable["regex"])
    assert written, variable["regex"]
    pattern = re.compile(written[1].replace("(?<", "(?P<"), re.IGNORECASE if written[2] else 0)
    found = filter(None, map(pattern.search, texts))
    return [match["value"] if "value" in pattern.groupindex else match.string for match in found]


def _chosen(variable: Mapping[str, Any], found: list[str]) -> str:
    if not variable["multi"]:
        return re.sub(r'(["\\])', r"\\\1", found[0])
    if variable["includeAll"]:
        everything: str = variable["allValue"]
        return everything
    # For a regular expression inside of a quoted text.
    return "(" + "|".join(re.sub(r"([\\^$*+?.()|\[\]{}])", r"\\\\\1", one) for one in found) + ")"


def _filled(text: str, values: Mapping[str, str]) -> str:
    filled = re.sub(r"\$(\w+)", lambda match: values[match[1]], text)
    assert "$" not in filled
    return filled
