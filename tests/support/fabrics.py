"""Trainings with Fabric, and what Fabric's own loggers have of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from tests.support.csv_points import csv_points

Point = tuple[str, int, float]
Log = Callable[[Any, Any, int], None]
"""Logs something at a step: it gets the Fabric, the loss and the step."""


def quiet_fabric(module: ModuleType, **options: Any) -> Any:
    """A Fabric on the CPU.

    Args:
        module: `lightning.fabric` or `lightning_fabric`.
        options: of the Fabric.
    """
    return module.Fabric(**{"accelerator": "cpu", "devices": 1, **options})


def train(fabric: Any, log: Log, steps: int = 6) -> Any:
    """Train from a fixed seed.

    Returns:
        The module, as Fabric has set it up.
    """
    torch.manual_seed(1)
    model = torch.nn.Linear(4, 1)
    module, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), 0.05))
    for step in range(steps):
        batch = torch.randn(2, 4) + fabric.global_rank
        loss = (module(batch) ** 2).mean()
        fabric.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        log(fabric, loss, step)
    return module


def in_csv(logger: Any) -> Counter[Point]:
    """What a `CSVLogger` has written. It numbers rows by itself, from 0 after each time that it writes."""
    logger.save()
    return csv_points(Path(logger.log_dir) / "metrics.csv")


def in_tensorboard(logger: Any) -> Counter[Point]:
    """What a `TensorBoardLogger` has written, which stores floats of 32 bits."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger.experiment.flush()
    events = EventAccumulator(logger.log_dir, size_guidance={"scalars": 0})
    events.Reload()
    return Counter((name, one.step, one.value) for name in events.Tags()["scalars"] for one in events.Scalars(name))
