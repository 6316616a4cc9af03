"""Tables of where the time of a training goes: what it costs to know, and how right it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.results import Results
from benchmarks.tables import grid

SHARES = ("input", "forward", "backward", "optimizer", "cause", "residual")


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


def checkpoints(results: Results) -> str:
    """What it takes to save a checkpoint, without us and with each way to record it."""
    found = {case: one["save_ms"] for case, one in results.load("checkpoints")["results"].items()}
    # The first one is without us.
    base = next(iter(found.values()))["median"]
    lines = (
        (case, f"{one['median']:.2f}", f"{one['min']:.2f} to {one['max']:.2f}", f"{one['median'] / base:.2f}")
        for case, one in found.items()
    )
    return grid(("a checkpoint is", "save, ms", "min to max", "x without us"), lines)


def pools(results: Results) -> str:
    """What a pool of trainings takes, with no logger and where each training is a run."""
    found = results.load("pools")["results"]
    lines = (
        (
            steps,
            case,
            f"{one['pool_s']['median']:.2f}",
            f"{one['pool_s']['min']:.2f} to {one['pool_s']['max']:.2f}",
            # The first one has no logger.
            f"{one['pool_s']['median'] / next(iter(cases.values()))['pool_s']['median']:.3f}",
            f"{one['fit_s']['median']:.2f}",
        )
        for steps, cases in found.items()
        for case, one in cases.items()
    )
    return grid(("each of 8 workers trains", "", "the pool, s", "min to max", "x no logger", "a fit, s"), lines)


def verdicts(results: Results) -> str:
    """Of each training what it measured itself, and what each tool said of it."""
    found = results.load("verdicts")
    lines = []
    for case, said in found["results"].items():
        if case == "cost":
            continue
        truths = [of_tool["itself"] for of_tool in said.values()]
        lines.append((case, "the training itself", "", *_shares(_mean(truths)), "100%"))
        lines += [
            ("", _name(tool, found), of_tool["verdict"], *_shares(of_tool["shares"]), f"{of_tool['of_fit']:.0%}")
            for tool, of_tool in said.items()
        ]
    header = (
        "takes most of the time", "who says so", "verdict", "input", "forward", "backward", "optimizer",
        "callback, validation or checkpoint", "residual", "of the fit's time",
    )  # fmt: skip
    return grid(header, lines) + _missing(found)


def cost_of_verdicts(results: Results) -> str:
    """What the same fast training takes under each tool, and under none."""
    found = results.load("verdicts")
    costs = found["results"]["cost"]
    neither_us = costs["neither"]["step_us"]["min"]
    lines = [
        (
            _name(tool, found),
            f"{(least_us := cost['step_us']['min']):.0f}",
            f"{cost['step_us']['min']:.0f} to {cost['step_us']['max']:.0f}",
            f"{least_us / neither_us:.2f}",
            f"{least_us - neither_us:.0f}",
            f"{cost['whole_s']['min']:.2f} to {cost['whole_s']['max']:.2f}",
            f"{cost['command_s']['min']:.1f}",
        )
        for tool, cost in costs.items()
    ]
    header = (
        "", "µs a step", "of the repetitions", "x neither", "more, µs", f"{found['fast_steps']:,} steps, s",
        "the whole command, s",
    )  # fmt: skip
    return grid(header, lines) + _missing(found)


def _name(tool: str, found: dict[str, Any]) -> str:
    return f"{tool} {found['traceml']}" if tool == "TraceML" else tool


def _missing(found: dict[str, Any]) -> str:
    """What to say below a table that has only ours."""
    return "" if found["traceml"] else "\nTraceML was not measured: `--traceml-python` named no Python that has it.\n"


def _mean(truths: list[dict[str, Any]]) -> dict[str, float]:
    """What a training measured itself, over its runs under each tool."""
    return {name: sum(one["shares"][name] for one in truths) / len(truths) for name in truths[0]["shares"]}


def _shares(shares: Mapping[str, float | None]) -> tuple[str, ...]:
    return tuple("" if (share := shares.get(name)) is None else f"{share:.1%}" for name in SHARES)
