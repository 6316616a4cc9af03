"""Translates pictures, figures, tables, texts and sounds into events of ClearML. Pure, but for the size of a picture.

Source of the forms: `Logger.report_image`, `report_media`, `report_table`, `report_plotly` and
`report_matplotlib_figure` of ClearML's client.
"""

from __future__ import annotations

import base64
import json
import math
import sys
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tracelet_otel.exporters.clearml.mapping import Graph
from tracelet_otel.protocol.files import RunFile

_WIDTH: Final = 640
"""Of a picture among the plots, in the unit of its axes."""
_NUMBERS: Final = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "f4": "f", "f8": "d"}
"""Types of `array` by plotly's names of them."""


def sample_event(file: RunFile, graph: Graph, task_id: str, place: str, address: str) -> dict[str, Any]:
    """A debug sample: a picture, a text or a sound that the page shows as it is.

    Args:
        file: what it is.
        graph: title and series under which it is shown.
        task_id: the task.
        place: its path on the files server. Samples of one iteration with different paths are different ones.
        address: its address there.
    """
    return {"type": "training_debug_image", **_at(file, graph, task_id), "key": place, "url": address}


def plot_event(file: RunFile, graph: Graph, task_id: str, plot: Mapping[str, Any]) -> dict[str, Any]:
    """A plot; one of the same title, series and iteration replaces it.

    Args:
        file: what it is.
        graph: title and series under which it is shown.
        task_id: the task.
        plot: a figure of plotly.
    """
    return {"type": "plot", **_at(file, graph, task_id), "plot_str": json.dumps(plot)}


def table_plot(table: Mapping[str, Any], graph: Graph) -> dict[str, Any]:
    """A table as a figure of plotly.

    Args:
        table: `columns` and `data`, a list of rows.
        graph: title and series under which it is shown.
    """
    columns, rows = table["columns"], table["data"]
    cells = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]
    table_form = {"type": "table", "header": {"values": columns, "align": "left"}}
    return {
        "data": [{**table_form, "cells": {"values": cells, "align": "left"}}],
        "layout": {"title": graph.series},
    }


def picture_plot(content: Path, address: str, graph: Graph) -> dict[str, Any]:
    """A picture of a figure as a figure of plotly, which shows it.

    Args:
        content: the picture.
        address: its address on the files server.
        graph: title and series under which it is shown.
    """
    from PIL import Image

    with Image.open(content) as image:
        height = round(_WIDTH * image.height / image.width)
    shown = {"xref": "x", "yref": "y", "x": 0, "y": height, "sizex": _WIDTH, "sizey": height, "sizing": "contain"}
    return {
        "data": [],
        "layout": {
            "xaxis": {"visible": False, "range": [0, _WIDTH]},
            "yaxis": {"visible": False, "range": [0, height], "scaleanchor": "x"},
            "margin": {"l": 0, "r": 0, "t": 64, "b": 0},
            "images": [{**shown, "layer": "below", "source": address}],
            "showlegend": False,
            "title": graph.path,
        },
    }


def plain_plot(value: Any) -> Any:
    """A figure of plotly, with numbers in the place of packed ones, which older pages of ClearML do not know.

    Args:
        value: the figure, or a part of it, as it was read from JSON.
    """
    if isinstance(value, list):
        return [plain_plot(one) for one in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("dtype")
    if "bdata" in value and kind in _NUMBERS:
        shape = [int(length) for length in str(value.get("shape", "")).split(",") if length.strip()]
        return _shaped(_unpacked(value["bdata"], _NUMBERS[kind]), shape)
    return {name: plain_plot(one) for name, one in value.items()}


def _at(file: RunFile, graph: Graph, task_id: str) -> dict[str, Any]:
    return {
        "task": task_id,
        "metric": graph.title,
        "variant": graph.series,
        "iter": file.step or 0,
        "timestamp": file.time_unix_nano // 1_000_000,
    }


def _unpacked(packed: str, code: str) -> list[Any]:
    numbers = array(code, base64.b64decode(packed))
    if sys.byteorder == "big":
        numbers.byteswap()
    # JSON has no such numbers.
    return [one if math.isfinite(one) else None for one in numbers]


def _shaped(numbers: Sequence[Any], shape: Sequence[int]) -> list[Any]:
    if len(shape) <= 1:
        return list(numbers)
    step = len(numbers) // shape[0] if shape[0] else 0
    return [_shaped(numbers[row * step : (row + 1) * step], shape[1:]) for row in range(shape[0])]
