"""`start_logging`, `stop_logging` and `Run`: everything is put together here, and nothing else is done."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from tracelet_otel import resource, samples, semconv
from tracelet_otel.destination import Destination
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters.delivery import Account
from tracelet_otel.exporters.destination import InProcess
from tracelet_otel.exporters.registry import absolute, check, trackers
from tracelet_otel.guard import Guard
from tracelet_otel.instrumentation.lightning import LightningInstrumentor
from tracelet_otel.instrumentation.recorder import Row, snapshot
from tracelet_otel.instrumentation.signals import Signals, make_signals
from tracelet_otel.settings import Settings, load, sdk_disabled

_logger = logging.getLogger("tracelet_otel")

_LONGEST_DRAIN_S: Final = 2.0
_ROWS_PER_FLUSH: Final = 10_000
"""Bounds the memory that a long queue takes while a run ends."""

_active: Run | None = None
_changing = threading.RLock()


class Run:
    """A run that is being recorded; also a context manager that ends it.

    Left by an exception, the context manager ends the run as failed.

    Raises:
        TraceletError: a backend is unknown, not installed, or does not give us a run.
    """

    def __init__(self, settings: Settings) -> None:
        self.id: str = settings.run_id or settings.mlflow_run_id or resource.new_run_id()
        """The run's id, the same in all processes and backends."""
        self.name: str = settings.exp_name or resource.default_run_name()
        """What people call the run."""
        self._settings = settings
        self._guard = Guard()
        self._pid = os.getpid()
        self._stopped = False
        self._stopping_thread: int | None = None
        self._ended = threading.Event()
        self._error_before = getattr(sys, "last_value", None)
        identity = resource.run_resource(self.id, self.name, settings.project)
        self._destination = self._open(identity.attributes)
        self.urls: dict[str, str] = dict(self._destination.urls)
        """Where people look at the run, by backend."""
        try:
            self._record(identity)
        except BaseException:
            self._destination.abandon()
            raise
        atexit.register(self._stop_at_exit)

    def _record(self, identity: Resource) -> None:
        self._readers = [self._reader(exporter) for exporter in self._destination.exporters]
        provider = MeterProvider(self._readers, identity, shutdown_on_exit=False)
        # At most half of the time drains, however many rows come.
        budget_s = min(self._settings.export_interval / 2, _LONGEST_DRAIN_S)
        self._signals = make_signals(provider, self._guard, budget_s)
        if self._settings.track_lightning:
            _instrument_lightning(self._signals)

    @property
    def accounts(self) -> dict[str, Account]:
        """How many readings each backend has taken, has refused and still has to take."""
        return self._destination.accounts

    @property
    def errors(self) -> dict[str, int]:
        """How many errors were kept away from the training, by what could not be done."""
        return dict(Counter(self._guard.counts) + Counter(self._destination.errors))

    def log_metric(self, name: str, value: Any, step: int) -> None:
        """Record one value.

        Args:
            name: the metric's name; any text.
            value: a number or a one-element tensor.
            step: where on the x axis it belongs.
        """
        if self._is_live(f"metric {name!r}"):
            try:
                row = Row(time.time_ns(), {name: snapshot(value)}, snapshot(step), semconv.AXIS_USER, "")
                self._signals.recorder.record(row)
            except Exception as error:
                self._guard.report("a value was dropped", error)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record hyperparameters; nested mappings get names joined with `/`."""
        if self._is_live("hyperparameters"):
            try:
                self._signals.hparams.update(params)
            except Exception as error:
                self._guard.report("hyperparameters were dropped", error)

    def stop(self, outcome: str | None = None) -> None:
        """Deliver everything and end the run; a second call does nothing.

        Waits as long as a backend takes something, and gives up on one that has taken nothing for
        `stop_timeout` seconds.

        Args:
            outcome: `finished`, `failed`, `interrupted` or `terminated`; by default how the last
                training ended.

        Raises:
            ConfigurationError: there is no such outcome.
        """
        if outcome is not None and outcome not in semconv.OUTCOMES:
            raise ConfigurationError(f"unknown outcome {outcome!r}; known outcomes: {', '.join(semconv.OUTCOMES)}")
        self._stop(outcome, None)

    def _stop(self, outcome: str | None, error: BaseException | None) -> None:
        global _active
        if os.getpid() != self._pid or self._stopping_thread == threading.get_ident():
            return
        with _changing:
            first, self._stopped = not self._stopped, True
            if first:
                self._stopping_thread = threading.get_ident()
                if _active is self:
                    _active = None
                if self._settings.track_lightning:
                    self._guarded(LightningInstrumentor().uninstrument)
        if not first:
            # Somebody else ends the run; nobody may leave before everything is delivered.
            self._ended.wait()
            return
        try:
            self._signals.outcome.settle(outcome, error)
            self._deliver()
        except BaseException as problem:
            self._give_up()
            if not isinstance(problem, Exception):
                raise
            self._guard.report("the run did not end as it should", problem)
        finally:
            self._ended.set()
            self._stopping_thread = None
            atexit.unregister(self._stop_at_exit)

    def _give_up(self) -> None:
        """Say what is missing where the end was interrupted."""
        rows = self._signals.recorder.queued
        if rows:
            self._guard.report(f"{rows} rows were not delivered", "the end of the run was interrupted")
        self._destination.abandon()

    def _guarded(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except Exception as error:
            self._guard.report("the run did not end as it should", error)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop(None, error)

    def _open(self, attributes: Mapping[str, Any]) -> Destination:
        if self._settings.relay_endpoint is not None:
            from tracelet_otel.relay.destination import Relayed
            from tracelet_otel.relay.joined import JoinedRelay

            return Relayed(JoinedRelay(self._settings, attributes, self.id), self.id, self._guard)
        if self._settings.relay:
            from tracelet_otel.relay.destination import Relayed
            from tracelet_otel.relay.launch import RelayProcess

            return Relayed(RelayProcess(self._settings, attributes, self.id), self.id, self._guard)
        if "relay" not in self._settings.model_fields_set:
            _logger.warning(
                "there is no relay on %s: trackers live in this process, and what they have not taken when it dies "
                "is lost. relay=False says that this is meant",
                sys.platform,
            )
        return InProcess(trackers(self._settings), attributes, self._guard)

    def _reader(self, exporter: MetricExporter) -> PeriodicExportingMetricReader:
        return PeriodicExportingMetricReader(
            exporter,
            export_interval_millis=self._settings.export_interval * 1e3,
            cardinality_limits=samples.cardinality_limits(),
        )

    def _deliver(self) -> None:
        while True:
            left = self._signals.recorder.drain(max_rows=_ROWS_PER_FLUSH)
            for reader in self._readers:
                self._guarded(reader.collect)
            if not left:
                break
        # Whoever reads the word closes the run, so it may not travel ahead of rows: the final
        # collection of a reader's shutdown has it.
        self._signals.outcome.end()
        deadline_s = time.monotonic() + self._settings.stop_timeout
        # Not `MeterProvider.shutdown`: all its readers share one deadline, so a slow backend would
        # leave no time to the next.
        for reader in self._readers:
            self._guarded(partial(reader.shutdown, timeout_millis=self._settings.stop_timeout * 1e3))
        self._destination.finish(deadline_s)

    def _is_live(self, what: str) -> bool:
        if os.getpid() != self._pid:
            return False
        if self._stopped:
            self._guard.report(f"{what} came too late", "the run has ended")
        return not self._stopped

    def _stop_at_exit(self) -> None:
        # The interpreter keeps an exception that nobody caught here, before it runs exit handlers.
        # In a session at the prompt it ended nothing.
        error = getattr(sys, "last_value", None)
        ended_by = None if error is self._error_before or hasattr(sys, "ps1") else error
        self._stop(None, ended_by)


def start_logging(
    exp_name: str | None = None,
    project: str | None = None,
    backend: str | Sequence[str] | None = None,
    api_key: str | None = None,
    backend_url: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> Run:
    """Record everything that Lightning logs from now on; ends the active run, if there is one.

    A run that is never stopped is ended when the process exits.

    Args:
        exp_name: name of the run; default: the script's name and the time.
        project: what the run belongs to: MLflow's experiment.
        backend: a backend's name, several, or names separated by commas; default `mlflow`.
        api_key: the backend's credential, where it takes one.
        backend_url: the backend's address; default: what its own environment variable says.
        config: further settings by name, see `docs/configuration.md`.

    Each setting can also be given as `TRACELET_<NAME>`: arguments win over `config`, and `config`
    over the environment.

    Raises:
        ConfigurationError: a setting or backend is unknown or malformed, or OpenTelemetry's SDK is
            turned off by `OTEL_SDK_DISABLED=true`.
        MissingDependencyError: the backend's client is not installed; the message has the command.
        TrackerError: the backend cannot be reached or does not give us a run.
    """
    global _active
    arguments = {
        "exp_name": exp_name,
        "project": project,
        "backend": backend,
        "api_key": api_key,
        "backend_url": backend_url,
    }
    settings = absolute(load(arguments, config))
    if sdk_disabled():
        raise ConfigurationError("OTEL_SDK_DISABLED=true turns OpenTelemetry off, so nothing can be recorded: unset it")
    # What is unknown or missing shows before the active run is ended; a relay that is joined has its own.
    for name in settings.backend if settings.relay_endpoint is None else ():
        check(name, settings)
    with _changing:
        if _active is not None:
            _active.stop()
        _active = Run(settings)
        return _active


def stop_logging() -> None:
    """Deliver everything and end the active run, if there is one."""
    run = get_active_run()
    if run is not None:
        run.stop()


def get_active_run() -> Run | None:
    """The run that this process started and has not ended."""
    run = _active
    return run if run is not None and run._pid == os.getpid() else None


def _instrument_lightning(signals: Signals) -> None:
    instrumentor = LightningInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
    # Lightning may be imported later, installed later, or never: its version is not asked for.
    instrumentor.instrument(skip_dep_check=True, signals=signals)
