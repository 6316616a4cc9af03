"""What it costs to know where the time of a training goes, and how right that is.

    python -m benchmarks.phases

Cost: what it takes to begin and end all actions of one step of a training, as Lightning does it where there is no
profiler, and as it is done to measure phases, interleaved. The second includes counting the batch's samples, and noting
a row at each step. Accuracy: a training in which each part waits for a known
time, and measures itself how long that really was.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from benchmarks.options import run
from benchmarks.report import show
from benchmarks.results import Results
from tests.support.quiet import quiet_trainer
from tests.support.sdk import provider
from tests.support.timed import Data, SlowLogger, Stopwatch, callback_of, module_of
from torch.utils.data import DataLoader

from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.lightning import LightningInstrumentor
from tracelet_otel.instrumentation.signals import make_signals
from tracelet_otel.instrumentation.timing.actions import Actions
from tracelet_otel.instrumentation.timing.batch import samples_in
from tracelet_otel.instrumentation.timing.timing import Timing

pl = importlib.import_module("lightning.pytorch")
CALLBACKS = (0, 10)
"""How many a training has besides our own."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done."""

    repetitions: int = 50
    steps: int = 500
    batches: int = 50
    """Of the training that measures itself, in each of two epochs."""
    pause_s: float = 0.02


class Names(pl.profilers.Profiler):
    """Remembers the actions of each step of a training, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[list[str]] = [[]]

    def start(self, action_name: str) -> None:
        """Remember an action; the first of a step fetches its batch."""
        if action_name.endswith("train_dataloader_next"):
            self.steps.append([])
        self.steps[-1].append(action_name)

    def stop(self, action_name: str) -> None:
        """Do nothing."""


def actions_of_a_step(home: Path, callbacks: int) -> list[str]:
    """What Lightning does in one step of a training, by the names of its profiler."""
    names, watch = Names(), Stopwatch(0)
    own = [type(f"Callback{number}", (pl.Callback,), {})() for number in range(callbacks)]
    trainer = quiet_trainer(pl, default_root_dir=home, max_epochs=1, profiler=names, callbacks=own)
    trainer.fit(module_of(watch), DataLoader(Data(watch, "data_wait", 4), 1))
    return names.steps[2]


def us_a_step(
    step: list[str],
    steps: int,
    profile: Callable[[str], AbstractContextManager[Any]],
    end: Callable[[int], object] = lambda _: None,
) -> float:
    """Microseconds that it takes to begin and end all actions of a step, which do nothing, and to end the step."""
    began_s = time.perf_counter()
    for number in range(steps):
        for name in step:
            with profile(name):
                pass
        end(number)
    return (time.perf_counter() - began_s) / steps * 1e6


def costs(size: Size, home: Path) -> dict[str, Any]:
    """What phases cost, without callbacks and with ten; the least of the repetitions, since noise only adds."""
    found = {}
    for number in CALLBACKS:
        step = actions_of_a_step(home, number)
        stock, metrics, batch = pl.profilers.PassThroughProfiler(), provider(), [torch.zeros(8, 4), torch.zeros(8)]
        timing = Timing(metrics, Guard())
        actions = timing.actions

        def end(number: int, batch: Any = batch, actions: Actions = actions) -> None:
            actions.batch_ended(samples_in(batch))
            actions.row_logged(number)

        lightnings, ours, sums = [], [], []
        for _ in range(size.repetitions):
            lightnings.append(us_a_step(step, size.steps, stock.profile))
            ours.append(us_a_step(step, size.steps, actions.__getitem__, end))
            began_s = time.perf_counter()
            _ = timing.spent_s
            sums.append((time.perf_counter() - began_s) / size.steps * 1e6)
        metrics.shutdown()
        found[f"{number} callbacks"] = {
            "actions": len(step), "lightning_us": min(lightnings), "ours_us": min(ours), "sums_us": min(sums)
        }  # fmt: skip
    return found


def accuracy(size: Size, home: Path) -> dict[str, Any]:
    """Of each part of a training, the seconds that it measured itself, and those of its phase."""
    metrics, watch = provider(), Stopwatch(size.pause_s)
    timing = Timing(metrics, Guard())
    LightningInstrumentor().take_over(replace(make_signals(metrics, Guard()), timing=timing))
    logger = SlowLogger(home)
    logger.watch = watch
    trainer = quiet_trainer(
        pl, default_root_dir=home, max_epochs=2, log_every_n_steps=1, enable_checkpointing=True, logger=logger,
        callbacks=[callback_of(watch)],
    )  # fmt: skip
    validation = DataLoader(Data(watch, "validation", 2 * size.batches // 5), 2)
    began_s = time.perf_counter()
    trainer.fit(module_of(watch), DataLoader(Data(watch, "data_wait", size.batches), 1), validation)
    wall_s = time.perf_counter() - began_s
    phases: dict[str, float] = {}
    for (phase, _stage), seconds in timing.spent_s.items():
        phases[f"{phase.name} {phase.owner}".strip()] = seconds
    LightningInstrumentor().uninstrument()
    metrics.shutdown()
    return {
        "wall_s": wall_s,
        "sum_s": sum(phases.values()),
        "parts": {part: {"own": seconds, "phase": phases[part]} for part, seconds in watch.spent_s.items()},
        "others": {phase: seconds for phase, seconds in phases.items() if phase not in watch.spent_s},
    }


def main(size: Size, results: Results) -> None:
    """Run it, print the tables, and leave figures."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as home:
        measured = {**costs(size, Path(home)), "accuracy": accuracy(size, Path(home))}
    results.write("phases", {"repetitions": size.repetitions, "results": measured})
    show(results, "cost of phases", "phases")


if __name__ == "__main__":
    run(main, Size(), smallest=Size(repetitions=1, steps=2, batches=5, pause_s=0.001))
