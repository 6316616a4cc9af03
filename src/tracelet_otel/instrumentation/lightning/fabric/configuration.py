"""Reads what a Fabric was configured with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tracelet_otel import semconv
from tracelet_otel.instrumentation.lightning.trainer_config import optimizer_settings, parameter_counts


def configuration_of(fabric: Any, modules: Sequence[Any], optimizers: Sequence[Any]) -> dict[str, Any]:
    """Hyperparameters by name, which are those of a trainer where it has the same.

    Args:
        fabric: the Fabric.
        modules: all modules that it has set up.
        optimizers: all optimizers that it has set up.
    """
    found = dict(_fabric(fabric))
    found.update(optimizer_settings(optimizers))
    if modules:
        found.update(parameter_counts(modules))
    return found


def _fabric(fabric: Any) -> Iterator[tuple[str, Any]]:
    prefix = f"{semconv.TRAINER_PREFIX}/fabric"
    yield f"{prefix}/strategy", type(fabric.strategy).__name__
    yield f"{prefix}/accelerator", type(fabric.accelerator).__name__
    precision = getattr(fabric.strategy.precision, "precision", None)
    if precision is not None:
        yield f"{prefix}/precision", precision
    yield f"{prefix}/world_size", fabric.world_size
    yield f"{prefix}/num_nodes", getattr(fabric.strategy, "num_nodes", 1)
