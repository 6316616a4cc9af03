"""Trainings that measure themselves what they spend their time on."""

from __future__ import annotations

import importlib
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import Dataset

pl = importlib.import_module("lightning.pytorch")
PAUSE_S = 0.004
"""How long each part of a training waits at a time."""


class Stopwatch:
    """What a training has spent on each of its parts, by its own measurement."""

    def __init__(self, pause_s: float = PAUSE_S) -> None:
        self.spent_s: defaultdict[str, float] = defaultdict(float)
        self._pause_s = pause_s

    @contextmanager
    def part(self, name: str, times: int = 1) -> Iterator[None]:
        began_s = time.perf_counter()
        time.sleep(times * self._pause_s)
        yield
        self.spent_s[name] += time.perf_counter() - began_s


class Data(Dataset[torch.Tensor]):
    def __init__(self, watch: Stopwatch, part: str, size: int) -> None:
        self._watch, self._part, self._size = watch, part, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> torch.Tensor:
        with self._watch.part(self._part):
            return torch.full((4,), float(index))


def optimizer_of(watch: Stopwatch, module: Any) -> torch.optim.Optimizer:
    class Optimizer(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            result = super().step(closure)
            with watch.part("optimizer"):
                return result

    return Optimizer(module.parameters(), lr=0.001)


def module_of(watch: Stopwatch, *, manual: bool = False) -> Any:
    base: Any = pl.LightningModule

    class Module(base):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = not manual
            self.layer = torch.nn.Linear(4, 1)
            weight: Any = self.layer.weight
            weight.register_hook(self.pause)

        def pause(self, gradient: torch.Tensor) -> None:
            with watch.part("backward"):
                pass

        def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
            with watch.part("validation" if self.trainer.validating or self.trainer.sanity_checking else "transfer"):
                return super().transfer_batch_to_device(batch, device, dataloader_idx)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            with watch.part("forward"):
                loss = self.layer(batch).mean()
                self.log("loss", loss)
            if manual:
                optimizer = self.optimizers()
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
            return loss

        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            with watch.part("validation" if self.trainer.state.fn == "fit" else "forward"):
                self.log("val", self.layer(batch).mean())

        def predict_step(self, batch: Any, batch_idx: int) -> Any:
            with watch.part("forward"):
                return self.layer(batch)

        def on_save_checkpoint(self, checkpoint: Any) -> None:
            with watch.part("checkpoint", 5):
                pass

        def configure_optimizers(self) -> Any:
            with watch.part("setup"):
                return optimizer_of(watch, self)

    return Module()


def callback_of(watch: Stopwatch) -> Any:
    base: Any = pl.Callback

    class Slow(base):
        def on_train_batch_end(self, *_: Any) -> None:
            with watch.part("callback Slow"):
                pass

    return Slow()


_Logger: Any = pl.loggers.CSVLogger


class SlowLogger(_Logger):
    watch: Stopwatch

    def log_metrics(self, metrics: Any, step: Any = None) -> None:
        with self.watch.part("logging SlowLogger"):
            super().log_metrics(metrics, step)
