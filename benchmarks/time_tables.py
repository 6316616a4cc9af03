"""Tables of where the time of a training goes: what it costs to know, and how right it is."""

from __future__ import annotations

from benchmarks.results import Results
from benchmarks.tables import grid


def cost_of_phases(results: Results) -> str:
    """What it takes to measure phases, for a step."""
    found = {case: costs for case, costs in results.load("phases")["results"].items() if case != "accuracy"}
    lines = (
        (case, f"{one['actions']}", f"{one['lightning_us']:.1f}", f"{one['ours_us']:.1f}", f"{one['sums_us']:.1f}")
        for case, one in found.items()
    )
    header = ("µs a step", "actions", "Lightning's own way", "with phases", "their sums, on another thread")
    return grid(header, lines)


def phases(results: Results) -> str:
    """How right the phases of a training are that measures itself."""
    found = results.load("phases")["results"]["accuracy"]
    parts = (
        (part, f"{one['own']:.3f}", f"{one['phase']:.3f}", f"{one['phase'] / one['own'] - 1:+.1%}")
        for part, one in found["parts"].items()
    )
    others = ((phase, "", f"{seconds:.3f}", "") for phase, seconds in found["others"].items())
    whole = ("all", f"{found['wall_s']:.3f}", f"{found['sum_s']:.3f}", f"{found['sum_s'] / found['wall_s'] - 1:+.1%}")
    return grid(("phase", "measured in the training, s", "its phase, s", "more"), (*parts, *others, whole))
