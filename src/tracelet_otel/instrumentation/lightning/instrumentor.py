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
from importlib.metadata import PackageNotFoundError, distribution
from threading import get_ident
from types import ModuleType
from typing import Any, Final

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.metrics import MeterProvider, get_meter_provider
from wrapt import register_post_import_hook

from tracelet_otel._support.environment import sdk_exports_nothing
from tracelet_otel._support.guard import Guard, log
from tracelet_otel._support.private_names import CONNECTOR, FETCHERS, LIGHTNING, check_package, tampered
from tracelet_otel.errors import IncompatibleVersionError
from tracelet_otel.instrumentation.lightning.hooks import Hooks
from tracelet_otel.instrumentation.lightning.own_run import end, identify, with_spans
from tracelet_otel.instrumentation.lightning.recording_logger import RecordingLogger
from tracelet_otel.instrumentation.outcome import last_error
from tracelet_otel.instrumentation.own_run import Nobodys, OwnRun
from tracelet_otel.instrumentation.patching import Patch, is_defined_in
from tracelet_otel.instrumentation.signals import Signals, make_signals

_METHODS: Final = ("fit", "validate", "test", "predict")
"""Methods of a trainer in which something is trained or logged."""
_DISTRIBUTIONS: Final = tuple(LIGHTNING.packages.values())


class LightningInstrumentor(BaseInstrumentor):
    """Instruments PyTorch Lightning under both of its package names.

    `instrument` takes a `meter_provider` (default: the global one), or `signals` made elsewhere.
    """

    def __init__(self) -> None:
        # The base class returns the same instance each time: a second construction must not reset its state.
        if not hasattr(self, "_patches"):
            self._patches: dict[tuple[Any, str], Patch] = {}
            self._hooks: Hooks | None = None
            self._awaited: set[str] = set()
            self._at_exit: Callable[[], None] | None = None
            self._own_pid = 0
            self._hooks_pid = 0
            self._is_worker = False
            """Whether this process works for another one that has started it, and so records nothing."""
            self._waits_for_lightning = False
            self._meter_provider: MeterProvider | None = None
            self.own_run: OwnRun = Nobodys()
            """The run that is reported where `instrument` is called without `signals`."""

    def __reduce__(self) -> tuple[Any, ...]:
        # A user's logger that is pickled by value contains the wrappers, and they refer to this object. Unpickling
        # gives the other process's own instrumentor, which does nothing unless it is enabled there.
        return LightningInstrumentor, ()

    @property
    def hooks(self) -> Hooks | None:
        """Where calls of loggers are reported; None where nothing is recorded now."""
        return self._hooks if os.getpid() == self._hooks_pid else None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Requirements on those distributions that are installed, of which one is enough; with none, on the first."""
        installed = [name for name in _DISTRIBUTIONS if _is_installed(name)]
        return [f"{name} >= {LIGHTNING.oldest}" for name in installed or _DISTRIBUTIONS[:1]]

    def take_over(self, signals: Signals) -> None:
        """Report to these signals from now on, and no longer to any earlier ones."""
        if self.is_instrumented_by_opentelemetry:
            self.uninstrument()
        # Lightning may be imported later, installed later, or never: its version is not checked here.
        self.instrument(skip_dep_check=True, signals=signals)

    def enter_copy(self, trainer: Any, callback: Any) -> None:
        """Record a trainer that continues in this process, which was started for it.

        Args:
            trainer: the copy of a trainer that was entered elsewhere.
            callback: the copy of our callback among those of the trainer.
        """
        if self._hooks is not None:
            self._hooks.enter_copy(trainer, callback, self._patch_loggers)

    def _instrument(self, **kwargs: Any) -> None:
        signals: Signals | None = kwargs.get("signals")
        if signals is not None:
            self._take_hooks(signals)
        else:
            self._waits_for_lightning, self._meter_provider = True, kwargs.get("meter_provider")
        for warning in tampered(LIGHTNING):
            log.warning(warning)
        self._await_lightning()

    def say_if_worker_trains(self) -> None:
        """Record nothing in this process, and warn when it trains: another process, which has a run, has started it."""
        self._is_worker = True
        self._await_lightning()

    def _await_lightning(self) -> None:
        for package in LIGHTNING.packages:
            if package in sys.modules:
                self._patch_package(sys.modules[package])
            elif package not in self._awaited:
                self._awaited.add(package)
                # Called when all of the package has been imported.
                register_post_import_hook(self._patch_package, package)

    def _uninstrument(self, **kwargs: Any) -> None:
        # A wrapper that somebody else has wrapped since stays in place and passes calls through.
        self._hooks, self._waits_for_lightning = None, False
        if self._at_exit is not None:
            # A run that began by itself ends here: nothing is reported to it from now on.
            end, self._at_exit = self._at_exit, None
            atexit.unregister(end)
            if os.getpid() == self._own_pid:
                end()
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
            self._is_worker = True
            return
        provider, guard = self._meter_provider or get_meter_provider(), Guard()
        identify(provider, guard)
        signals = make_signals(provider, guard, participation=participation, tells_rank=True)
        signals = with_spans(replace(signals, training_begins=run.training_begins), provider)
        run.watch(signals)
        # Runs before the provider's own exit handler, which was registered earlier: the SDK's final collection has too
        # little time for a long queue.
        self._at_exit = atexit.register(functools.partial(end, run, signals, last_error()))
        self._take_hooks(signals)

    def _take_hooks(self, signals: Signals) -> None:
        self._hooks, self._hooks_pid, self._is_worker = Hooks.of(signals), os.getpid(), False

    def _patch_package(self, package: ModuleType) -> None:
        if self._waits_for_lightning:
            self._begin_own_run()
        hooks = self._hooks
        if hooks is None:
            if self._is_worker:
                # Only to warn where this worker trains.
                for method in _METHODS:
                    self._patch_method(package.Trainer, method, self._wrap_lifecycle)
            return
        try:
            check_package(LIGHTNING, package.__name__)
            connector = sys.modules[f"{package.__name__}.{CONNECTOR}"]._LoggerConnector
            self._patch_method(connector, "log_metrics", self._wrap_connector)
            for method in _METHODS:
                self._patch_method(package.Trainer, method, self._wrap_lifecycle)
            fetcher = sys.modules[f"{package.__name__}.{FETCHERS}"]._DataFetcher
            self._patch_method(fetcher, "__iter__", self._wrap_fetcher)
        except Exception as error:
            reason = str(error) if isinstance(error, IncompatibleVersionError) else error
            hooks.guard.report(f"nothing that {package.__name__} logs is recorded", reason)

    def _patch_method(self, owner: Any, method: str, make_wrapper: Callable[..., Any]) -> None:
        # Other libraries may restore the function that they had replaced, which removes our wrapper.
        patch = self._patches.get((owner, method))
        if patch is None or not patch.is_in_place:
            self._patches[owner, method] = Patch(owner, method, make_wrapper)

    def _patch_loggers(self, trainer: Any) -> None:
        wrappers = {"log_metrics": self._wrap_logger, "log_hyperparams": self._wrap_hyperparams}
        for logger in (one for one in trainer.loggers if not isinstance(one, RecordingLogger)):
            for method, make_wrapper in wrappers.items():
                try:
                    self._patch_method(type(logger), method, make_wrapper)
                except Exception as error:
                    if self._hooks is not None:
                        place = f"what is handed to {type(logger).__name__}.{method} itself will be missing"
                        self._hooks.guard.report(place, error)
        if self._hooks is not None:
            self._hooks.media.watch(trainer, self._patch_method, self)

    def _wrap_connector(self, log_metrics: Callable[..., Any]) -> Callable[..., Any]:
        # Lightning's own function hands the row to the loggers, and without any it does nothing: then no call is nested
        # in it. A function that others have put in its place may call a wrapper of ours.
        is_lightnings = is_defined_in(log_metrics, CONNECTOR)

        @functools.wraps(log_metrics)
        def log_metrics_and_record(connector: Any, metrics: Any, step: int | None = None) -> Any:
            hooks = self._hooks
            # A nested call comes where somebody has wrapped us and we have wrapped them: it has the same row.
            if hooks is None or ((threads := hooks.rows.handing_out.threads) and get_ident() in threads):
                return log_metrics(connector, metrics, step)
            trainer = connector.trainer
            try:
                if is_lightnings and not trainer.loggers:
                    return log_metrics(connector, metrics, step)
                with hooks.rows.handing_out, hooks.logging():
                    return log_metrics(connector, metrics, step)
            finally:
                # Also where a user's logger raises: the row was logged all the same.
                hooks.rows.take(trainer, metrics, step)

        return log_metrics_and_record

    def _wrap_logger(self, log_metrics: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(log_metrics)
        def log_metrics_and_record(logger: Any, *args: Any, **kwargs: Any) -> Any:
            hooks = self._hooks
            if hooks is None:
                return log_metrics(logger, *args, **kwargs)
            if get_ident() in hooks.rows.handing_out.threads:
                with hooks.logging(logger):
                    return log_metrics(logger, *args, **kwargs)
            try:
                with hooks.rows.handing_out, hooks.logging(logger):
                    return log_metrics(logger, *args, **kwargs)
            finally:
                hooks.take_logged_row(log_metrics, logger, args, kwargs)

        return log_metrics_and_record

    def _wrap_fetcher(self, begin: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(begin)
        def begin_and_note(fetcher: Any) -> Any:
            hooks = self._hooks
            if hooks is None:
                return begin(fetcher)
            # Workers are started here, and the first batches are waited for.
            with hooks.fetching():
                return begin(fetcher)

        return begin_and_note

    def _wrap_hyperparams(self, log_hyperparams: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(log_hyperparams)
        def log_hyperparams_and_record(logger: Any, *args: Any, **kwargs: Any) -> Any:
            hooks = self._hooks
            if hooks is None or get_ident() in hooks.rows.handing_out.threads:
                return log_hyperparams(logger, *args, **kwargs)
            try:
                # Some loggers log a metric of their own in here, which is not to be recorded.
                with hooks.rows.handing_out:
                    return log_hyperparams(logger, *args, **kwargs)
            finally:
                hooks.take_hyperparams(log_hyperparams, logger, args, kwargs)

        return log_hyperparams_and_record

    def _say_unrecorded(self) -> None:
        # In a forked process, rows for the parent's signals would stay in the queue for ever.
        self._hooks, self._is_worker = None, False
        log.warning(
            "what process %d trains is not recorded: it was started by one whose run has no part of it. Call "
            "start_logging in the process that trains",
            os.getpid(),
        )

    def _wrap_lifecycle(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def call_and_report(trainer: Any, *args: Any, **kwargs: Any) -> Any:
            if self._is_worker or (self._hooks is not None and os.getpid() != self._hooks_pid):
                self._say_unrecorded()
            hooks = self._hooks
            if hooks is None or not hooks.enter(trainer, self._patch_loggers, call.__name__):
                return call(trainer, *args, **kwargs)
            try:
                result = call(trainer, *args, **kwargs)
            except BaseException as error:
                hooks.leave(trainer, error)
                raise
            hooks.leave(trainer, None)
            return result

        return call_and_report


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
