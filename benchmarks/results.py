"""What benchmarks leave: figures as JSON, and plots."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import platform
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

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


@dataclass(frozen=True, slots=True)
class Results:
    """A directory of figures, each benchmark's under its name."""

    directory: Path

    def names(self) -> list[str]:
        """Of the benchmarks that have left figures."""
        return sorted(path.stem for path in self.directory.glob("*.json"))

    def load(self, name: str) -> dict[str, Any]:
        """Figures that a benchmark has left."""
        found: dict[str, Any] = json.loads((self.directory / f"{name}.json").read_text())
        return found

    def write(self, name: str, figures: Mapping[str, Any]) -> None:
        """Keep figures, with the machine that gave them."""
        self.directory.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"machine": machine(), **figures}, indent=1)
        (self.directory / f"{name}.json").write_text(f"{content}\n")

    @contextlib.contextmanager
    def plot(self, name: str, panels: int, size: tuple[float, float]) -> Iterator[Sequence[Any]]:
        """Axes to draw on, one for each panel; the plot is kept at the end.

        Args:
            name: of the plot.
            panels: how many, beside each other.
            size: width and height in inches.
        """
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(1, panels, squeeze=False, figsize=size, layout="constrained")
        yield axes[0]
        self.directory.mkdir(parents=True, exist_ok=True)
        figure.savefig(self.directory / f"{name}.png", dpi=120)
        plt.close(figure)

    def bars(self, name: str, title: str, unit: str, values: Mapping[str, float]) -> None:
        """Plot one value for each case, on a logarithmic axis."""
        with self.plot(name, 1, (8, 0.4 * len(values) + 1.2)) as (axes,):
            colors = ["C1" if "ours" in case else "C0" for case in values]
            drawn = axes.barh(list(values), list(values.values()), color=colors)
            axes.bar_label(drawn, fmt="%.3g", padding=3)
            axes.set(title=title, xlabel=unit, xscale="log")
            axes.invert_yaxis()
            axes.margins(x=0.15)


KEPT = Results(Path(__file__).parent / "results")
"""Those that the documents show."""
