"""The hook: takes each row that Lightning hands to its loggers, and changes nothing.

Lightning reduces, names and paces what `self.log` gets, and then hands finished rows to
`_LoggerConnector.log_metrics`. That call is wrapped, so names, values and steps equal those of
Lightning's own loggers; it also happens with `Trainer(logger=False)`. Neither `LightningModule.log`
is touched, nor is a logger or callback added. Both packages, `lightning` and `pytorch_lightning`,
are patched when they are imported, and neither is imported from here.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Collection
from importlib.metadata import PackageNotFoundError, distribution
from types import ModuleType
from typing import Any, Final

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.metrics import get_meter_provider
from wrapt import register_post_import_hook

from tracelet_otel import semconv
from tracelet_otel.guard import Guard
from tracelet_otel.instrumentation.patching import Patch
from tracelet_otel.instrumentation.recorder import Recorder, Row

_DISTRIBUTIONS: Final = ("lightning", "pytorch-lightning")
_OLDEST: Final = "2.5.2"
_CONNECTORS: Final = tuple(
    f"{package}.trainer.connectors.logger_connector.logger_connector"
    for package in ("lightning.pytorch", "pytorch_lightning")
)


class LightningInstrumentor(BaseInstrumentor):
    """Instruments PyTorch Lightning under both of its package names.

    `instrument` takes `meter_provider` (default: the global one), or a `recorder` made elsewhere
    with its `guard`.
    """

    def __init__(self) -> None:
        # The base class hands out one instance: its state must outlive a second construction.
        if not hasattr(self, "_patches"):
            self._patches: dict[str, Patch] = {}
            self._active: _Hook | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Either distribution is enough; with none installed, the first is named as missing."""
        installed = [name for name in _DISTRIBUTIONS if _is_installed(name)]
        return [f"{name} >= {_OLDEST}" for name in installed or _DISTRIBUTIONS[:1]]

    def _instrument(self, **kwargs: Any) -> None:
        guard: Guard = kwargs.get("guard") or Guard()
        recorder: Recorder = kwargs.get("recorder") or Recorder(
            kwargs.get("meter_provider") or get_meter_provider(), guard
        )
        self._active = _Hook(recorder, guard)
        for name in _CONNECTORS:
            if name in sys.modules:
                self._patch(sys.modules[name])
            else:
                register_post_import_hook(self._patch, name)

    def _uninstrument(self, **kwargs: Any) -> None:
        # What somebody has wrapped since stays in place and passes calls through.
        self._active = None
        self._patches = {name: patch for name, patch in self._patches.items() if not patch.undo()}

    def _patch(self, module: ModuleType) -> None:
        active = self._active
        if active is None or module.__name__ in self._patches:
            return
        try:
            self._patches[module.__name__] = Patch(module._LoggerConnector, "log_metrics", self._wrap)
        except Exception as error:
            active.guard.report(f"{module.__name__} is not as expected, its metrics will be missing", error)

    def _wrap(self, log_metrics: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(log_metrics)
        def log_metrics_and_record(connector: Any, metrics: Any, step: int | None = None) -> Any:
            try:
                return log_metrics(connector, metrics, step)
            finally:
                # Also where a user's logger raises: the row was logged all the same.
                if metrics and (hook := self._active) is not None:
                    hook.take(connector.trainer, metrics, step)

        return log_metrics_and_record


class _Hook:
    """Resolves step and epoch as Lightning does, and records the row."""

    def __init__(self, recorder: Recorder, guard: Guard) -> None:
        self._recorder = recorder
        self.guard = guard

    def take(self, trainer: Any, metrics: dict[str, Any], step: int | None) -> None:
        try:
            now = time.time_ns()
            values = dict(metrics)
            epoch = trainer.current_epoch
            stage = trainer.state.fn
            at: Any = step
            axis = semconv.AXIS_EVAL_BATCH if trainer.evaluating else semconv.AXIS_TRAINER
            if step is None:
                at = values.pop("step", None)
                if at is not None:
                    axis = semconv.AXIS_LOGGED
                else:
                    values.setdefault("epoch", epoch)
                    at = trainer.fit_loop.epoch_loop._batches_that_stepped
                    axis = semconv.AXIS_TRAINER
            self._recorder.record(Row(now, values, at, axis, stage.value if stage else "", epoch))
        except Exception as error:
            self.guard.report("a row of metrics could not be taken from Lightning", error)


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
