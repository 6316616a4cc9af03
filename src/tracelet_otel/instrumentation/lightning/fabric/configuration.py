"""Reads what a Fabric was configured with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tracelet_otel import semconv


def configuration_of(fabric: Any) -> Iterator[tuple[str, Any]]:
    """Yield hyperparameters of a Fabric by name.

    Args:
        fabric: the Fabric, which has been launched.
    """
    prefix = f"{semconv.TRAINER_PREFIX}/fabric"
    yield f"{prefix}/strategy", type(fabric.strategy).__name__
    yield f"{prefix}/accelerator", type(fabric.accelerator).__name__
    precision = getattr(fabric.strategy.precision, "precision", None)
    if precision is not None:
        yield f"{prefix}/precision", precision
    yield f"{prefix}/world_size", fabric.world_size
    yield f"{prefix}/num_nodes", getattr(fabric.strategy, "num_nodes", 1)
