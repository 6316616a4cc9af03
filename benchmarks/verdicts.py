"""What ours says of a training whose truth is known, what TraceML says of it, and what each of them costs.

    python -m benchmarks.verdicts --traceml-python /somewhere/venv/bin/python

TraceML (package `traceml-ai`) is no dependency of this package. It is measured where a Python is
named that has it, and torch and Lightning as this one has them. It runs as its documentation says, by `traceml run`
around the script and without a display, and what it found is read from its `final_summary.json`. Each training is a
process of its own. Verdicts are of trainings with known pauses, or with a large model. Cost is of a fast training, its
repetitions interleaved: the fastest of its blocks of steps, since noise only adds.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.child import ROOT, ended
from benchmarks.known_training import BLOCK, CASES
from benchmarks.options import run
from benchmarks.report import show
from benchmarks.results import Results, spread
from benchmarks.servers import mlflow_database
from tests.support.waiting import free_port

SCRIPT = str(ROOT / "benchmarks" / "known_training.py")
JUDGED = tuple(case for case in CASES if case != "fast")
EVERY = 50
"""Steps between two rows of a training: Lightning's default."""
WATCHED = {
    "neither": ("none", EVERY),
    "TraceML": ("TraceML", EVERY),
    "ours": ("ours", EVERY),
    "ours, a row at each step": ("ours", 1),
}
"""How the fast training is watched: by whom, and at how many steps it logs a row. TraceML takes no rows."""
STEP_PARTS = {"input": "data_wait", "forward": "forward", "backward": "backward", "optimizer": "optimizer"}
"""Parts of a step that everybody names, by how the table calls them, and ours and the training itself do."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is trained."""

    steps: int = 100
    """Of a training that is judged."""
    fast_steps: int = 1000
    """Of one that shows what it costs."""
    repetitions: int = 4
    """Of the latter."""
    traceml_python: str = ""
    """An interpreter that has TraceML; without one only ours is measured."""


@dataclass(frozen=True, slots=True)
class Tools:
    """How to train under each tool, and under none."""

    traceml_python: str
    database: Path
    """An empty one of MLflow's; each run of ours gets a copy."""

    @property
    def names(self) -> tuple[str, ...]:
        """Those that can be measured."""
        return ("TraceML", "ours") if self.traceml_python else ("ours",)

    def train(self, tool: str, case: str, steps: int, every: int = EVERY) -> dict[str, Any]:
        """Train in a process of its own.

        Args:
            tool: who watches, one of `names` or "none".
            case: one of `CASES`.
            steps: of the training.
            every: steps between two rows.

        Returns:
            What the training measured itself, `command_s` until the process had ended, and what the tool found.
        """
        with tempfile.TemporaryDirectory() as home:
            order = json.dumps({"case": case, "tool": tool, "steps": steps, "every": every, "home": home})
            if tool == "ours":
                shutil.copy(self.database, f"{home}/mlflow.db")
            began_s = time.perf_counter()
            ended(self._under_traceml(order, home) if tool == "TraceML" else [sys.executable, SCRIPT, order], home)
            command_s = time.perf_counter() - began_s
            found: dict[str, Any] = json.loads((Path(home) / "training.json").read_text())
            if tool == "TraceML":
                found[tool] = json.loads((Path(home) / "logs" / "known" / "final_summary.json").read_text())
            return {**found, "command_s": command_s}

    def _under_traceml(self, order: str, home: str) -> list[str]:
        options = {
            "--logs-dir": f"{home}/logs",
            "--run-name": "known",
            "--aggregator-port": str(free_port()),
            "--master-port": str(free_port()),
            "--args": order,
        }
        launcher = [self.traceml_python, "-m", "traceml_ai.launcher.cli", "run", SCRIPT]
        return [*launcher, *(text for option in options.items() for text in option)]


def by_itself(case: str, found: dict[str, Any]) -> dict[str, Any]:
    """What a training measured itself, as shares of its time from the first batch to the last."""
    parts, whole_s = found["parts"], found["whole_s"]
    return {
        "shares": {
            **{name: parts[part] / whole_s for name, part in STEP_PARTS.items()},
            **cause(case, {part: seconds / whole_s for part, seconds in parts.items()}),
            "residual": 1 - sum(parts.values()) / whole_s,
        },
        "of_fit": 1.0,
    }


def by_traceml(_case: str, found: dict[str, Any]) -> dict[str, Any]:
    """What TraceML said: shares of what it calls Step Time, and how much of the fit that is in all."""
    summary = found["TraceML"]
    verdict, steps = summary["primary_diagnosis"], summary["step_time"]["global"]
    ms = steps["average"]
    step_ms = ms["step_time_ms"]
    names = {"input": "input_wait_ms", **{name: f"{name}_ms" for name in ("forward", "backward", "optimizer")}}
    return {
        "verdict": verdict["status"],
        "text": verdict["summary"],
        "shares": {
            **{name: None if ms[figure] is None else ms[figure] / step_ms for name, figure in names.items()},
            "residual": None if ms["residual_ms"] is None else ms["residual_ms"] / step_ms,
        },
        "of_fit": step_ms / 1e3 * steps["window"]["steps_analyzed"] / found["whole_s"],
        "steps": steps["window"]["steps_analyzed"],
    }


def by_ours(case: str, found: dict[str, Any]) -> dict[str, Any]:
    """What ours said: shares of the fit's time without set-up. What is Lightning's own counts as what has no name."""
    verdict, total_s, phases = (found["ours"][name] for name in ("verdict", "total_s", "phases"))
    shares = {phase: seconds / total_s for phase, seconds in phases.items()}
    return {
        "verdict": f"{verdict['name']} {verdict['owner']}".strip() if verdict else "none",
        "text": verdict["text"] if verdict else "",
        "shares": {
            **{name: shares.get(phase, 0.0) for name, phase in STEP_PARTS.items()},
            **cause(case, shares),
            "residual": shares["lightning"],
        },
        "of_fit": total_s / found["whole_s"],
    }


def cause(case: str, shares: dict[str, float]) -> dict[str, float]:
    """The share of what takes most of a case's time, where that is no part of a step; nothing where it is one."""
    part = CASES[case].part
    return {} if part in STEP_PARTS.values() else {"cause": shares[part]}


SAID: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {"TraceML": by_traceml, "ours": by_ours}


def verdicts(size: Size, tools: Tools) -> dict[str, Any]:
    """Of each training what it measured itself, what each tool said, and what was true while that tool watched."""
    measured: dict[str, Any] = {}
    for case in JUDGED:
        measured[case] = {}
        for tool in tools.names:
            found = tools.train(tool, case, size.steps)
            measured[case][tool] = {**SAID[tool](case, found), "itself": by_itself(case, found)}
    return measured


def costs(size: Size, tools: Tools) -> dict[str, Any]:
    """What the fast training takes under nothing and under each tool.

    That is microseconds for a step, in the fastest block of steps of each repetition, and seconds: from the first
    batch to the last, and from the start of the process to its end.
    """
    watched = {name: how for name, how in WATCHED.items() if how[0] in ("none", *tools.names)}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in watched}
    for _ in range(size.repetitions):
        for name, (tool, every) in watched.items():
            found[name].append(tools.train(tool, "fast", size.fast_steps, every))
    figures = ("step_us", "whole_s", "command_s")
    return {
        name: {figure: spread([one[figure] for one in trainings]) for figure in figures}
        for name, trainings in found.items()
    }


def main(size: Size, results: Results) -> None:
    """Run it, print the tables, and leave figures."""
    with tempfile.TemporaryDirectory() as home:
        tools = Tools(size.traceml_python, mlflow_database(Path(home)))
        version = traceml_version(size.traceml_python, home) if size.traceml_python else None
        measured = {**verdicts(size, tools), "cost": costs(size, tools)}
    results.write(
        "verdicts",
        {
            "traceml": version,
            "steps": size.steps,
            "fast_steps": size.fast_steps,
            "repetitions": size.repetitions,
            "results": measured,
        },
    )
    show(results, "verdicts", "cost of verdicts")


def traceml_version(python: str, home: str) -> str:
    """The release that an interpreter has; the benchmark ends where it has none."""
    script = "from importlib.metadata import version; print(version('traceml-ai'))"
    return ended([python, "-c", script], home).stdout.strip()


if __name__ == "__main__":
    run(main, Size(), smallest=Size(steps=20, fast_steps=BLOCK, repetitions=1))
