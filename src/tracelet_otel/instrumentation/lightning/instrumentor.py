"""Wraps functions of Lightning, and unwraps them again.

`LightningModule.log` is not wrapped, because `torch.compile` would see the wrapper. No logger is added, because
Lightning would then save checkpoints elsewhere. Both packages, `lightning` and `pytorch_lightning`, are patched when
they are imported, and neither is imported from here.
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from types import ModuleType
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.metrics import MeterProvider, get_meter_provider
from wrapt import register_post_import_hook

from tracelet_otel._support.environment import is_recorded_elsewhere, sdk_exports_nothing
from tracelet_otel._support.guard import Guard, log
from tracelet_otel._support.private_names import (
    CONNECTOR,
    FETCHERS,
    LIGHTNING,
    check_package,
    requirements,
    tampered,
)
from tracelet_otel.errors import IncompatibleVersionError
from tracelet_otel.instrumentation.lightning.attachment import Attachment
from tracelet_otel.instrumentation.lightning.command_line import CommandLines
from tracelet_otel.instrumentation.lightning.fabric.wrappers import FabricWrappers
from tracelet_otel.instrumentation.lightning.hooks import Hooks
from tracelet_otel.instrumentation.lightning.own_run import end, identify, with_spans
from tracelet_otel.instrumentation.lightning.recording_logger import RecordingLogger
from tracelet_otel.instrumentation.lightning.routes import Routes, RunsInWorkers, RunsOfTrainers
from tracelet_otel.instrumentation.lightning.wrappers import METHODS, Wrappers
from tracelet_otel.instrumentation.outcome import last_error
from tracelet_otel.instrumentation.own_run import Nobodys, OwnRun
from tracelet_otel.instrumentation.patching import Patch
from tracelet_otel.instrumentation.signals import Signals, make_signals


class LightningInstrumentor(BaseInstrumentor):
    """Instruments PyTorch Lightning under both of its package names.

    `instrument` takes a `meter_provider` (default: the global one), or `signals` made elsewhere.
    """

    def __init__(self) -> None:
        # The base class returns the same instance each time: a second construction must not reset its state.
        if not hasattr(self, "_patches"):
            self._patches: dict[tuple[Any, str], Patch] = {}
            self.routes = Routes()
            """Which run a trainer is recorded in."""
            self._awaited: set[str] = set()
            self._at_exit: Callable[[], None] | None = None
            self._own_pid = 0
            self._waits_for_lightning = False
            self._meter_provider: MeterProvider | None = None
            routes = self.routes
            attachment = Attachment(self, routes.of_thread, routes.beginning, self._patch_method, self._patch_loggers)
            self._command_lines = CommandLines(attachment)
            self._wrappers = Wrappers(routes, self._patch_loggers, self._command_lines.report)
            self._parts = (FabricWrappers(attachment), self._command_lines)
            self.own_run: OwnRun = Nobodys()
            """The run that is reported where `instrument` is called without `signals`."""

    def __reduce__(self) -> tuple[Any, ...]:
        # A user's logger that is pickled by value contains the wrappers, and they refer to this object. Unpickling
        # gives the other process's own instrumentor, which does nothing unless it is enabled there.
        return LightningInstrumentor, ()

    @property
    def hooks(self) -> Hooks | None:
        """Where calls of loggers are reported; None where nothing is recorded now."""
        return self.routes.here_in_this_process()

    def instrumentation_dependencies(self) -> Collection[str]:
        """Requirements on those distributions that are installed, of which one is enough; with none, on the first."""
        return requirements(LIGHTNING, "lightning-fabric")

    def take_over(self, signals: Signals, trainings: RunsOfTrainers | None = None) -> None:
        """Report to these signals from now on, and no longer to any earlier ones.

        Args:
            signals: those of the default run of this process.
            trainings: has a run of its own for each trainer; None: all are recorded in this one.
        """
        if self.is_instrumented_by_opentelemetry:
            self.uninstrument()
        # Lightning may be imported later, installed later, or never: its version is not checked here.
        self.instrument(skip_dep_check=True, signals=signals, trainings=trainings)

    def add(self, signals: Signals, trainings: RunsOfTrainers | None = None, *, isolated: bool) -> Hooks:
        """Report to these signals, too.

        Args:
            signals: those of a run that is not the default one.
            trainings: has a run of its own for each trainer; None: all are recorded in this one.
            isolated: whether what this thread trains from now on is reported to them. If not, a trainer is only where
                somebody has said so.
        """
        hooks = Hooks.of(signals, self.routes.handing_out, trainings)
        self.routes.add(hooks, isolated=isolated)
        self._await_lightning()
        return hooks

    def remove(self, hooks: Hooks) -> None:
        """Report no longer to signals that were added."""
        self.routes.remove(hooks)
        self._undo_unused()

    def enter_copy(self, trainer: Any, callback: Any) -> None:
        """Record a trainer that continues in this process, which was started for it.

        Args:
            trainer: the copy of a trainer that was entered elsewhere.
            callback: the copy of our callback among those of the trainer.
        """
        hooks = self.routes.default
        if hooks is not None:
            hooks.enter_copy(trainer, callback, self._patch_loggers)

    def _instrument(self, **kwargs: Any) -> None:
        signals: Signals | None = kwargs.get("signals")
        if signals is not None:
            self._take_hooks(signals, kwargs.get("trainings"))
        else:
            self._waits_for_lightning, self._meter_provider = True, kwargs.get("meter_provider")
        for warning in tampered(LIGHTNING):
            log.warning(warning)
        self._await_lightning()

    def record_workers(self, runs: RunsInWorkers) -> None:
        """Record what a process trains that works for another one: this process, or one that is forked from it.

        Args:
            runs: has the runs for that.
        """
        self.routes.in_workers = runs
        if is_recorded_elsewhere() and not self._waits_for_lightning and not self.routes.is_used:
            self.routes.be_worker()
            self._await_lightning()

    def _await_lightning(self) -> None:
        for package in (*LIGHTNING.packages, *(name for part in self._parts for name in part.modules)):
            if package in sys.modules:
                self._patch_package(sys.modules[package])
            elif package not in self._awaited:
                self._awaited.add(package)
                # Called when all of the package has been imported.
                register_post_import_hook(self._patch_package, package)

    def _uninstrument(self, **kwargs: Any) -> None:
        self.routes.remove(None)
        self._waits_for_lightning = False
        if self._at_exit is not None:
            # A run that began by itself ends here: nothing is reported to it from now on.
            end, self._at_exit = self._at_exit, None
            atexit.unregister(end)
            if os.getpid() == self._own_pid:
                end()
        self._undo_unused()

    def _undo_unused(self) -> None:
        # A wrapper that somebody else has wrapped since stays in place and passes calls through.
        if not self.routes.is_used and not self.routes.is_worker:
            self._patches = {key: patch for key, patch in self._patches.items() if not patch.undo()}

    def _begin_own_run(self) -> None:
        """Begin a run that no call started; not before Lightning is imported, without which nothing is recorded."""
        self._waits_for_lightning, self._own_pid = False, os.getpid()
        if self._meter_provider is None and sdk_exports_nothing():
            # No metric reader would ever drain the queue.
            return
        run = self.own_run
        participation = run.begin()
        if participation is None:
            self.routes.be_worker()
            return
        provider, guard = self._meter_provider or get_meter_provider(), Guard()
        identify(provider, guard)
        signals = make_signals(provider, guard, participation=participation, tells_rank=True)
        signals = with_spans(replace(signals, training_begins=run.training_begins), provider)
        run.watch(signals)
        # Runs before the provider's own exit handler, which was registered earlier: the SDK's final collection has too
        # little time for a long queue.
        self._at_exit = atexit.register(functools.partial(end, run, signals, last_error()))
        self._take_hooks(signals, run.trainings)

    def _take_hooks(self, signals: Signals, trainings: RunsOfTrainers | None = None) -> None:
        self.routes.begin(Hooks.of(signals, self.routes.handing_out, trainings))

    def _patch_package(self, package: ModuleType) -> None:
        if self._waits_for_lightning:
            self._begin_own_run()
        if not self.routes.is_used:
            if self.routes.is_worker and package.__name__ in LIGHTNING.packages:
                # Only to begin a run where this worker trains.
                for method in METHODS:
                    self._patch_method(package.Trainer, method, self._wrappers.lifecycle)
            return
        try:
            for part in self._parts:
                if package.__name__ in part.modules:
                    part.patch(package)
                    return
            check_package(LIGHTNING, package.__name__)
            connector = sys.modules[f"{package.__name__}.{CONNECTOR}"]._LoggerConnector
            self._patch_method(connector, "log_metrics", self._wrappers.connector)
            for method in METHODS:
                self._patch_method(package.Trainer, method, self._wrappers.lifecycle)
            fetcher = sys.modules[f"{package.__name__}.{FETCHERS}"]._DataFetcher
            self._patch_method(fetcher, "__iter__", self._wrappers.fetcher)
        except Exception as error:
            reason = str(error) if isinstance(error, IncompatibleVersionError) else error
            self.routes.guard.report(f"nothing that {package.__name__} logs is recorded", reason)

    def _patch_method(self, owner: Any, method: str, make_wrapper: Callable[..., Any]) -> None:
        # Other libraries may restore the function that they had replaced, which removes our wrapper.
        patch = self._patches.get((owner, method))
        if patch is None or not patch.is_in_place:
            self._patches[owner, method] = Patch(owner, method, make_wrapper)

    def _patch_loggers(self, trainer: Any) -> None:
        wrappers = {"log_metrics": self._wrappers.logger, "log_hyperparams": self._wrappers.hyperparams}
        hooks = self.routes.here()
        for logger in (one for one in trainer.loggers if not isinstance(one, RecordingLogger)):
            for method, make_wrapper in wrappers.items():
                try:
                    self._patch_method(type(logger), method, make_wrapper)
                except Exception as error:
                    place = f"what is handed to {type(logger).__name__}.{method} itself will be missing"
                    self.routes.guard.report(place, error)
        if hooks is not None:
            hooks.media.watch(trainer, self._patch_method, self)
