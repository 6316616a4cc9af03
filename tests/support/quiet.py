"""A Trainer that trains on the CPU, logs each step and writes nothing down. Imports no Lightning by itself."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

QUIET: Final = {
    "accelerator": "cpu",
    "logger": False,
    "log_every_n_steps": 1,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def quiet_trainer(pl: ModuleType, **options: Any) -> Any:
    """Make one.

    Args:
        pl: the package, `lightning.pytorch` or `pytorch_lightning`.
        options: of the Trainer, over those that make it quiet.
    """
    return pl.Trainer(**{**QUIET, **options})
