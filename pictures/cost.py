"""What a row costs the training thread beside other loggers: bars of the figures that the documents' tables have."""

from __future__ import annotations

import math
from html import escape
from statistics import median

from benchmarks.budgets import over_nothing
from benchmarks.results import KEPT, Results

from pictures.kept import keep_svg

NAME = "cost"
METRICS = 5
"""In a row."""
_NAMES = {
    "ours: mlflow": "tracelet-otel → MLflow",
    "ours: three trackers": "tracelet-otel → MLflow, W&B, ClearML",
    "ours: otlp": "tracelet-otel → OpenTelemetry",
}
_WIDTH, _LEFT, _RIGHT, _BAR = 880, 290, 150, 30
_STYLE = """
text { font: 14px -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 17px; font-weight: 600 }
.small { font-size: 12px; fill: #59636e }
.grid { stroke: #d1d9e0 }
.theirs { fill: #8c959f }
.ours { fill: #1f883d }
.strong { font-weight: 600 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9198a1 } .grid { stroke: #3d444d }
.theirs { fill: #656c76 } .ours { fill: #3fb950 } }
"""
"""Readable on white and on black: a page's own setting decides."""


def drawing(results: Results = KEPT) -> str:
    """The plot as SVG, without a typed figure."""
    costs = results.load("overhead")["results"][f"rows of {METRICS} metrics"]
    own_us = {case: median(over_nothing(costs, case, "row_us")) for case in costs if case != "no logger"}
    ours_us = own_us["ours: mlflow"]
    bars = sorted(own_us.items(), key=lambda one: one[1])
    low, high = 1.0, 10.0 ** math.ceil(math.log10(max(own_us.values())))
    top, bottom = 66, 66 + _BAR * len(bars)
    across = _WIDTH - _LEFT - _RIGHT

    def place(us: float) -> float:
        return _LEFT + across * math.log10(us / low) / math.log10(high / low)

    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + 52}" width="{_WIDTH}" role="img">',
        f"<style>{_STYLE}</style>",
        '<text x="12" y="26" class="title">Cost of logging five metrics at a step</text>',
        '<text x="12" y="48" class="small">Time on the training thread on top of no logger; log scale</text>',
    ]
    for power in range(int(math.log10(high)) + 1):
        x = place(10.0**power)
        drawn.append(f'<path d="M{x:.1f} {top}V{bottom}" class="grid"/>')
        label = _time(10.0**power)
        drawn.append(f'<text x="{x:.1f}" y="{bottom + 18}" class="small" text-anchor="middle">{label}</text>')
    for number, (case, us) in enumerate(bars):
        y = top + _BAR * number
        kind, weight = ("ours", ' class="strong"') if case in _NAMES else ("theirs", "")
        name = escape(_NAMES.get(case, case))
        drawn.append(f'<text x="{_LEFT - 10}" y="{y + 20}" text-anchor="end"{weight}>{name}</text>')
        wide = place(us) - _LEFT
        drawn.append(f'<rect x="{_LEFT}" y="{y + 5}" width="{wide:.1f}" height="{_BAR - 10}" rx="2" class="{kind}"/>')
        times = "" if case in _NAMES else f"  ({us / ours_us:,.0f}×)"
        drawn.append(f'<text x="{place(us) + 8:.1f}" y="{y + 20}"{weight}>{_time(us)}{times}</text>')
    drawn.append(
        f'<text x="12" y="{bottom + 42}" class="small">×: how many times the cost of tracelet-otel → MLflow. '
        "Medians; docs/performance.md has the spread and the machine.</text></svg>"
    )
    return "\n".join(drawn) + "\n"


def _time(us: float) -> str:
    if us >= 1e6:
        return f"{us / 1e6:.3g} s"
    return f"{us / 1e3:.3g} ms" if us >= 1e3 else f"{us:.3g} µs"


def main() -> None:
    """Keep it."""
    keep_svg(NAME, drawing())


if __name__ == "__main__":
    main()
