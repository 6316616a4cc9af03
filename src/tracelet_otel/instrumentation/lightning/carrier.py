"""The callback that a training carries while it is recorded.

It says when trainer, module and optimizers are set up, and marks the training itself: the trial
runs of Lightning's tuner replace all callbacks, and it is not among theirs. It has no state,
changes no checkpoint, and can be pickled; a copy made in another process does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any


class Carrier:
    """What the callbacks of both packages have in common."""

    def __init__(self) -> None:
        self._package = ""
        self._report: Callable[[Any], None] | None = None

    def _ready(self, trainer: Any) -> None:
        if self._report is not None:
            self._report(trainer)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Report: the optimizers are there."""
        self._ready(trainer)

    def _outside_fit(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.training:
            self._ready(trainer)

    on_validation_start = on_test_start = on_predict_start = _outside_fit

    def __reduce__(self) -> tuple[Any, ...]:
        return make_carrier, (self._package,)

    def __deepcopy__(self, _memo: Any) -> Any:
        return make_carrier(self._package)


def make_carrier(package: str, report: Callable[[Any], None] | None = None) -> Any:
    """A carrier that is a `Callback` of the package.

    Args:
        package: `lightning.pytorch` or `pytorch_lightning`.
        report: called with the trainer when all is set up; never raises.
    """
    carrier = _carrier_type(package)()
    carrier._package = package
    carrier._report = report
    return carrier


@cache
def _carrier_type(package: str) -> Any:
    return type("TraceletCarrier", (Carrier, import_module(f"{package}.callbacks").Callback), {})
