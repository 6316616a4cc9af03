"""What a benchmark leaves in `benchmarks/results/`: its figures as JSON, and a plot."""

from __future__ import annotations

import datetime as dt
import json
import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("torch", "lightning", "opentelemetry-sdk", "mlflow", "wandb", "clearml")


def machine() -> dict[str, Any]:
    """Where and with what something was measured."""
    return {
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "processors": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        **{name: version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    # `platform.processor` is empty on Linux.
    path = Path("/proc/cpuinfo")
    told = re.search(r"model name\s*: (.+)", path.read_text()) if path.exists() else None
    return told[1] if told else platform.machine()


def spread(found: Sequence[float]) -> dict[str, Any]:
    """What repetitions gave: median, smallest and largest, and each in its turn."""
    return {"median": statistics.median(found), "min": min(found), "max": max(found), "each": list(found)}


def write(name: str, figures: Mapping[str, Any]) -> None:
    """Keep figures, with the machine that gave them."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": machine(), **figures}, indent=1) + "\n")


def bars(name: str, title: str, unit: str, values: Mapping[str, float]) -> None:
    """Plot one value for each case, on a logarithmic axis."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 0.4 * len(values) + 1.2), layout="constrained")
    drawn = axes.barh(list(values), list(values.values()), color=["C1" if "ours" in case else "C0" for case in values])
    axes.bar_label(drawn, fmt="%.3g", padding=3)
    axes.set(title=title, xlabel=unit, xscale="log")
    axes.invert_yaxis()
    axes.margins(x=0.15)
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / f"{name}.png", dpi=120)
    plt.close(figure)
