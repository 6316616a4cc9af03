"""Panels of a dashboard, drawn as SVG: their title, unit, legend and place are those of the dashboard's JSON."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

WIDTH = 1280
_COLUMN, _ROW, _GAP = WIDTH / 24, 38, 8
_COLORS = ("#73bf69", "#f2b544", "#5ba3e8", "#ef843c", "#e0606a", "#b48ee0", "#6fd0c4", "#c8c8c8", "#a0a84a", "#d982b5")
_INK, _FAINT, _LINE, _PANEL, _PAGE = "#d4d7dd", "#8d939e", "#2b2f36", "#181b1f", "#0f1114"


@dataclass(frozen=True, slots=True)
class Series:
    """What one query gave under one set of labels."""

    name: str
    labels: Mapping[str, str]
    target: int
    """The query's place in its panel."""
    points: Sequence[tuple[float, float]]
    """Seconds since 1970, and values."""


def page(title: str, panels: Sequence[tuple[Mapping[str, Any], Sequence[Series]]], span: tuple[float, float]) -> str:
    """A part of a dashboard, as an SVG of `WIDTH` pixels.

    Args:
        title: that stands above it.
        panels: of the JSON, each with its data.
        span: the time that is shown, in seconds since 1970.
    """
    top = min(panel["gridPos"]["y"] for panel, _ in panels)
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel, _ in panels)
    height = 48 + (bottom - top) * _ROW + _GAP
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="Helvetica, Arial">',
        f'<rect width="{WIDTH}" height="{height}" fill="{_PAGE}"/>',
        _text(12, 30, title, size=17),
    ]
    for panel, series in panels:
        place = panel["gridPos"]
        x, y = place["x"] * _COLUMN + _GAP / 2, 48 + (place["y"] - top) * _ROW
        box = (place["w"] * _COLUMN - _GAP, place["h"] * _ROW - _GAP)
        drawn.append(f'<svg x="{x:.1f}" y="{y}" width="{box[0]:.1f}" height="{box[1]}">')
        if panel["type"] == "row":
            drawn.append(_text(6, 21, f"⌄ {panel['title']}", size=14))
        else:
            drawn.append(f'<rect width="100%" height="100%" rx="3" fill="{_PANEL}" stroke="{_LINE}"/>')
            drawn.append(_text(10, 20, panel["title"], size=13))
            draw = {"stat": _stat, "timeseries": _chart, "heatmap": _heatmap, "table": _table}[panel["type"]]
            drawn.append(draw(panel, series, box, span))
        drawn.append("</svg>")
    return "".join([*drawn, "</svg>"])


def shown(value: float, unit: str) -> str:
    """A value in a unit of Grafana's, with three digits."""
    if unit == "percentunit":
        return f"{value * 100:.3g}%"
    if unit == "s" and value:
        for factor, name in ((60, "min"), (1, "s"), (1e-3, "ms")):
            if abs(value) >= factor or factor == 1e-3:
                scale = 1 if name != "min" else 60
                return f"{value / (scale if name != 'ms' else 1e-3):.3g} {name}"
    if unit == "dateTimeAsIso":
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(value / 1e3))
    if unit == "watt":
        return f"{value:.3g} W"
    if math.isnan(value):
        return "NaN"
    whole = value.is_integer() and abs(value) < 1e6
    return f"{value:.0f}" if whole else f"{value:.3g}"


def _text(x: float, y: float, text: str, size: int = 12, color: str = _INK, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _unit(panel: Mapping[str, Any]) -> str:
    return str(panel.get("fieldConfig", {}).get("defaults", {}).get("unit", "short"))


def _stat(panel: Mapping[str, Any], series: Sequence[Series], box: tuple[float, float], _: object) -> str:
    if not series:
        return _text(box[0] / 2, box[1] / 2 + 12, "No data", 16, _FAINT, "middle")
    named = panel["options"]["textMode"] == "name"
    text = series[0].name if named else shown(series[0].points[-1][1], _unit(panel))
    return _text(box[0] / 2, box[1] / 2 + 22, text, 34 if len(text) < 12 else 28, _COLORS[0], "middle")


def _chart(
    panel: Mapping[str, Any], series: Sequence[Series], box: tuple[float, float], span: tuple[float, float]
) -> str:
    if not series:
        return _text(box[0] / 2, box[1] / 2 + 8, "No data", 14, _FAINT, "middle")
    defaults, unit = panel["fieldConfig"]["defaults"], _unit(panel)
    stacked = "stacking" in defaults["custom"]
    left, top, right = 58.0, 34.0, box[0] - 14
    legend = min(len(series), 6)
    bottom = box[1] - 34 - 17 * (legend + 1)
    curves = _stack(series) if stacked else [[(at, value) for at, value in one.points] for one in series]
    values = [value for curve in curves for _, value in curve if math.isfinite(value)] or [0.0, 1.0]
    low, high = defaults.get("min", min(values)), defaults.get("max", max(values))
    if stacked:
        low = 0.0
    if high <= low:
        low, high = (min(low, 0.0), high + 1) if high >= 0 else (low - 1, high)
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])

    def place(at: float, value: float) -> tuple[float, float]:
        across = left + (at - span[0]) / (span[1] - span[0]) * (right - left)
        return across, bottom - (value - low) / (high - low) * (bottom - top)

    drawn = [_axes(ticks, unit, place, (left, top, right, bottom), span)]
    order = list(enumerate(curves))
    for number, curve in reversed(order) if stacked else order:
        color = _COLORS[number % len(_COLORS)]
        for part in _unbroken(curve):
            points = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in part)
            if stacked:
                begin, end = place(part[0][0], low), place(part[-1][0], low)
                area = f"{begin[0]:.1f},{begin[1]:.1f} {points} {end[0]:.1f},{end[1]:.1f}"
                drawn.append(f'<polygon points="{area}" fill="{_PANEL}"/>')
                drawn.append(f'<polygon points="{area}" fill="{color}" fill-opacity="0.6"/>')
            drawn.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.5"/>')
    drawn.append(_legend(series, unit, (box[0], bottom + 36), legend))
    return "".join(drawn)


def _stack(series: Sequence[Series]) -> list[list[tuple[float, float]]]:
    below: dict[float, float] = {}
    curves = []
    for one in series:
        for at, value in one.points:
            below[at] = below.get(at, 0.0) + (value if math.isfinite(value) else 0.0)
        curves.append([(at, below[at]) for at, _ in one.points])
    return curves


def _unbroken(curve: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """The parts of a curve: where a value is not finite, or there is none for a while, nothing is drawn."""
    parts: list[list[tuple[float, float]]] = [[]]
    for at, value in curve:
        if not math.isfinite(value) or (parts[-1] and at - parts[-1][-1][0] > 20):
            parts.append([])
        if math.isfinite(value):
            parts[-1].append((at, value))
    return [part for part in parts if part]


def _ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(one * power for one in (1, 2, 5, 10) if one * power >= rough)
    first = math.floor(low / step)
    return [step * number for number in range(first, math.ceil(high / step - 1e-9) + 1)]


def _axes(
    ticks: Sequence[float], unit: str, place: Any, area: tuple[float, float, float, float], span: tuple[float, float]
) -> str:
    left, _, right, bottom = area
    drawn = []
    for tick in ticks:
        y = place(span[0], tick)[1]
        drawn.append(f'<path d="M{left} {y:.1f}H{right}" stroke="{_LINE}"/>')
        drawn.append(_text(left - 7, y + 4, shown(tick, unit), 11, _FAINT, "end"))
    length = span[1] - span[0]
    every = next(one for one in (10, 15, 30, 60, 120, 300, 600, 3600) if length / one <= 6 or one == 3600)
    at = math.ceil(span[0] / every) * every
    while at < span[1]:
        x = place(at, ticks[0])[0]
        drawn.append(f'<path d="M{x:.1f} {area[1]}V{bottom}" stroke="{_LINE}"/>')
        if left + 20 < x < right - 20:
            drawn.append(_text(x, bottom + 16, time.strftime("%H:%M:%S", time.gmtime(at)), 11, _FAINT, "middle"))
        at += every
    return "".join(drawn)


def _legend(series: Sequence[Series], unit: str, place: tuple[float, float], most: int) -> str:
    right, y = place
    columns = (right - 160, right - 88, right - 16)
    drawn = [_text(x, y, name, 11, _FAINT, "end") for x, name in zip(columns, ("Last *", "Min", "Max"), strict=True)]
    for number, one in enumerate(series[:most]):
        y += 17
        finite = [value for _, value in one.points if math.isfinite(value)] or [math.nan]
        drawn.append(f'<rect x="12" y="{y - 6:.1f}" width="12" height="3" fill="{_COLORS[number % len(_COLORS)]}"/>')
        more = f"   (and {len(series) - most} more)" if number == most - 1 and len(series) > most else ""
        drawn.append(_text(30, y, one.name + more, 11))
        found = (one.points[-1][1], min(finite), max(finite))
        drawn += [_text(x, y, shown(value, unit), 11, _INK, "end") for x, value in zip(columns, found, strict=True)]
    return "".join(drawn)


def _heatmap(
    _: Mapping[str, Any], series: Sequence[Series], box: tuple[float, float], span: tuple[float, float]
) -> str:
    """Buckets of a histogram over time; each series is how many were at or below its `le`."""
    bounds = sorted((float(one.labels["le"]), dict(one.points)) for one in series)
    cells, before = [], dict.fromkeys((at for _, of in bounds for at in of), 0.0)
    for bound, counts in bounds:
        cells.append((bound, {at: max(0.0, count - before[at]) for at, count in counts.items()}))
        before = {**before, **counts}
    cells = [(bound, counts) for bound, counts in cells if max(counts.values(), default=0) > 0.5]
    if not cells:
        return _text(box[0] / 2, box[1] / 2 + 8, "No data", 14, _FAINT, "middle")
    most = max(max(counts.values()) for _, counts in cells)
    left, top, right, bottom = 66.0, 34.0, box[0] - 14, box[1] - 30
    high = (bottom - top) / len(cells)
    drawn = []
    for number, (bound, counts) in enumerate(cells):
        y = bottom - (number + 1) * high
        label = "more" if math.isinf(bound) else shown(bound, "s")
        drawn.append(_text(left - 7, y + 4 + (0 if number < len(cells) - 1 else 6), label, 11, _FAINT, "end"))
        for at, count in counts.items():
            x = left + (at - span[0]) / (span[1] - span[0]) * (right - left)
            wide = 5 / (span[1] - span[0]) * (right - left)
            if count > 0 and x >= left:
                strength = 0.15 + 0.85 * math.sqrt(count / most)
                drawn.append(
                    f'<rect x="{x:.1f}" y="{y + 1:.1f}" width="{max(wide - 1, 1):.1f}" height="{high - 2:.1f}" '
                    f'fill="#ff9a3c" fill-opacity="{strength:.2f}"/>'
                )
    for part in (0.15, 0.5, 0.85):
        at = span[0] + part * (span[1] - span[0])
        x = left + part * (right - left)
        drawn.append(_text(x, bottom + 18, time.strftime("%H:%M:%S", time.gmtime(at)), 11, _FAINT, "middle"))
    return "".join(drawn)


def _table(
    panel: Mapping[str, Any], series: Sequence[Series], box: tuple[float, float], span: tuple[float, float]
) -> str:
    rows: dict[str, dict[str, Any]] = {}
    for one in series:
        row = rows.setdefault(one.labels["tracelet_run_id"], {})
        row.update(one.labels)
        row[f"Value #{'ABCDEFGH'[one.target]}"] = one.points[-1][1]
    organize = next(one["options"] for one in panel["transformations"] if one["id"] == "organize")
    names: dict[str, str] = organize["renameByName"]
    order: dict[str, int] = organize.get("indexByName") or {}
    keys = [key for key in sorted(names, key=lambda key: order.get(key, 0)) if not organize["excludeByName"].get(key)]
    units = {
        override["matcher"]["options"]: one["value"]
        for override in panel["fieldConfig"]["overrides"]
        for one in override["properties"]
        if one["id"] == "unit"
    }
    wide = (box[0] - 20) / len(keys)
    drawn = [_text(12 + wide * number, 46, names[key], 12, "#6e9fff") for number, key in enumerate(keys)]
    for line, row in enumerate(rows.values()):
        y = 74 + 28 * line
        drawn.append(f'<path d="M8 {y - 19}H{box[0] - 8:.0f}" stroke="{_LINE}"/>')
        for number, key in enumerate(keys):
            drawn.append(_text(12 + wide * number, y, _cell(row.get(key), units.get(names[key], "none"), span[1])))
    return "".join(drawn)


def _cell(value: object, unit: str, now: float) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        text = str(value)
        return text if len(text) < 16 else f"{text[:12]}…"
    return f"{max(0.0, now - value / 1e3):.0f} seconds ago" if unit == "dateTimeFromNow" else shown(value, unit)
