"""One training of which the truth is known, under one tool or none, in its own process; `verdicts` runs it.

    python benchmarks/known_training.py '{"case": "input", "tool": "ours", "steps": 100, "every": 50, "home": "/tmp/x"}'

It measures itself what its parts take. What it finds it leaves as `training.json` in its home, since a tool that
launches trainings may keep what they print. TraceML needs nothing here: it finds the training by itself.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

warnings.simplefilter("ignore")
# Before anything is imported that reads it.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

import lightning.pytorch as pl  # noqa: E402
import torch  # noqa: E402
from tests.support.quiet import quiet_trainer  # noqa: E402
from tests.support.timed import Data, Stopwatch, callback_of  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

if TYPE_CHECKING:
    from tracelet_otel.instrumentation.timing.timing import Timing

BATCH = 8
CHECKPOINTS_EVERY = 10
"""Steps between two checkpoints, or validations, where there are any."""
BLOCK = 50
"""Steps that are timed together: few, so that some have nothing else running beside them."""
VALIDATED = 10
"""Batches of a validation."""


@dataclass(frozen=True, slots=True)
class Case:
    """A training, by what takes its time."""

    part: str
    """What takes most of it, by the name that the training measures it by."""
    pause_ms: float = 0.0
    """How long that part waits at a time; 0 where it computes."""
    width: int = 256
    """Of the model's layers."""


CASES = {
    "input": Case("data_wait", pause_ms=4),
    "compute": Case("forward", width=2048),
    "callback": Case("callback Slow", pause_ms=20),
    "validation": Case("validation", pause_ms=20),
    "checkpoint": Case("checkpoint", pause_ms=200),
    "fast": Case("forward", width=16),
}
"""All but the last are to be judged. The last one shows what it costs to be watched."""


class Pauses(Stopwatch):
    """Waits in one part only, and measures all."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self._case = case

    @contextmanager
    def part(self, name: str, times: int = 1) -> Iterator[None]:
        began_s = time.perf_counter()
        if name == self._case.part and self._case.pause_ms:
            time.sleep(self._case.pause_ms / 1e3)
        yield
        self.spent_s[name] += time.perf_counter() - began_s


class Model(pl.LightningModule):
    """Measures its steps, and the fit from its first batch to its last, also in blocks of steps.

    Args:
        watch: what it measures its parts with.
        width: of its layers.
    """

    def __init__(self, watch: Pauses, width: int) -> None:
        super().__init__()
        self.watch = watch
        self.whole_s = 0.0
        self.blocks_s: list[float] = []
        self._block_began_s = 0.0
        layers = [torch.nn.Linear(4, width), torch.nn.ReLU()]
        for _ in range(3):
            layers += [torch.nn.Linear(width, width), torch.nn.ReLU()]
        self.model = torch.nn.Sequential(*layers, torch.nn.Linear(width, 1))

    def training_step(self, batch: Any) -> Any:
        with self.watch.part("forward"):
            loss = self.model(batch / 1e3).square().mean()
            self.log("loss", loss)
            return loss

    def backward(self, loss: Any) -> None:
        with self.watch.part("backward"):
            super().backward(loss)

    def validation_step(self, batch: Any) -> None:
        with self.watch.part("validation"):
            self.log("val", self.model(batch / 1e3).mean())

    def on_save_checkpoint(self, checkpoint: Any) -> None:
        with self.watch.part("checkpoint"):
            pass

    def on_train_start(self) -> None:
        self.whole_s -= time.perf_counter()
        self._block_began_s = time.perf_counter()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (batch_idx + 1) % BLOCK == 0:
            now_s = time.perf_counter()
            self.blocks_s.append(now_s - self._block_began_s)
            self._block_began_s = now_s

    def on_train_end(self) -> None:
        self.whole_s += time.perf_counter()

    def configure_optimizers(self) -> Any:
        watch = self.watch

        class Optimizer(torch.optim.SGD):
            def step(self, closure: Any = None) -> Any:
                # It has forward and backward in it.
                loss = closure()
                with watch.part("optimizer"):
                    super().step()
                return loss

        return Optimizer(self.parameters(), lr=1e-6)


def warm_up(home: Path) -> None:
    """Train a little that no tool watches: what the first steps of a process import is to be in nobody's figures."""
    watch = Pauses(CASES["fast"])
    os.environ["TRACEML_DISABLED"] = "1"
    quiet_trainer(pl, default_root_dir=home, max_epochs=1).fit(
        Model(watch, 4), DataLoader(Data(watch, "data_wait", BATCH), 1), DataLoader(Data(watch, "validation_data", 1))
    )
    del os.environ["TRACEML_DISABLED"]


def watched(order: dict[str, Any]) -> Any:
    """A run of ours, as a user has it, where it is ours that watches."""
    if order["tool"] != "ours":
        return nullcontext()
    import tracelet_otel as tracelet

    return tracelet.start_logging("known", backend="mlflow", backend_url=f"sqlite:///{order['home']}/mlflow.db")


def ours(timing: Timing) -> dict[str, Any]:
    """What ours says of the training that has just ended."""
    from tracelet_otel.instrumentation.timing.verdict import judged

    fit = timing.fit_time
    verdict = judged(fit)
    return {
        "verdict": verdict and {"name": verdict.name, "owner": verdict.owner, "text": verdict.text},
        "total_s": fit.total_s,
        "phases": {f"{phase.name} {phase.owner}".strip(): seconds for phase, seconds in fit.seconds.items()},
    }


def main() -> None:
    """Train, and leave what was measured."""
    order = json.loads(sys.argv[1])
    home, steps = Path(order["home"]), order["steps"]
    os.chdir(home)
    torch.set_num_threads(1)
    warm_up(home)
    case = CASES[order["case"]]
    watch = Pauses(case)
    model = Model(watch, case.width)
    callbacks = [callback_of(watch)] if case.part.startswith("callback") else []
    options: dict[str, Any] = {"log_every_n_steps": order["every"]}
    validation = None
    if case.part == "checkpoint":
        options["enable_checkpointing"] = True
        callbacks.append(pl.callbacks.ModelCheckpoint(home / "checkpoints", every_n_train_steps=CHECKPOINTS_EVERY))
    if case.part == "validation":
        options |= {"val_check_interval": CHECKPOINTS_EVERY, "num_sanity_val_steps": 0}
        validation = DataLoader(Data(watch, "validation_data", VALIDATED), 1)
    data = DataLoader(Data(watch, "data_wait", steps * BATCH), BATCH)
    with watched(order) as run:
        trainer = quiet_trainer(pl, default_root_dir=home, max_epochs=1, callbacks=callbacks, **options)
        began_s = time.perf_counter()
        trainer.fit(model, data, validation)
        fit_s = time.perf_counter() - began_s
        step_us = min(model.blocks_s) / BLOCK * 1e6 if model.blocks_s else None
        found = {"fit_s": fit_s, "whole_s": model.whole_s, "step_us": step_us, "parts": dict(watch.spent_s)}
        if run is not None:
            found["ours"] = ours(run._signals.timing)
    (home / "training.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
