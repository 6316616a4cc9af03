"""A relay that is started apart from any training, and takes the runs of all trainings that have its token."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tracelet_otel._support.guard import Guard, log
from tracelet_otel.errors import ConfigurationError, TraceletError
from tracelet_otel.exporters import registry
from tracelet_otel.exporters.otlp.exporter import collector_variables
from tracelet_otel.protocol.files import SPOOL_SUFFIX
from tracelet_otel.relay.clock import Clock
from tracelet_otel.relay.journal import SIDECAR_DIRECTORY, SUFFIX, Journal
from tracelet_otel.relay.meter import RelayMeter
from tracelet_otel.relay.runs import IDLE_S, LOOK_S, Runs
from tracelet_otel.relay.server import Application, HttpServer, TakesBeside, listen
from tracelet_otel.relay.spool import Spool
from tracelet_otel.relay.taking import take
from tracelet_otel.relay.telemetry import telemetry
from tracelet_otel.relay.traces import accept_spans
from tracelet_otel.relay.uploads import Uploads
from tracelet_otel.settings import Settings, from_plain

_FINISH_S: Final = 25.0
"""How long a sidecar that was told to finish waits for runs: Kubernetes gives a pod 30 seconds to end."""
_SILENT_S: Final = 5.0
"""A sidecar that was told to finish does not wait for a run from which nothing came for this many seconds."""


class Sidecar(Runs):
    """Takes any run. What an earlier sidecar has left in its journals goes on.

    Args:
        settings: backends and their addresses. Names, projects and ids come from the resource of each run.
        token: the bearer token that each request must have.
        idle_s: close a run as killed after this many seconds in which nothing came from it.

    Raises:
        OSError: it cannot listen on the address of `relay_bind`.
        TraceletError: a backend is unknown or not installed.
    """

    def __init__(self, settings: Settings, token: str, idle_s: float = IDLE_S) -> None:
        # Not the directory of relays that trainings start, so that each finds only its own journals at the next start.
        directory = settings.journal_dir / SIDECAR_DIRECTORY
        clock, guard = Clock(), Guard()
        super().__init__(registry.absolute(settings), directory, guard, clock, idle_s)
        # Before any request is accepted: a missing package is an error at the start, and imports take seconds.
        registry.trackers(self._settings)
        self._resume_all()
        host, _, port = settings.relay_bind.rpartition(":")
        listener = listen(host.strip("[]"), int(port), other_port=False)
        self._meter = RelayMeter(lambda: self.figures)
        application = Application(
            token,
            lambda requests: take(requests, self.accept, self.each),
            self.status,
            guard,
            clock,
            self._meter,
            TakesBeside(
                lambda content: accept_spans(content, lambda run_id: self.known(run_id).spans),
                Uploads(lambda run_id: self.known(run_id).files.directory),
            ),
        )
        self._server = HttpServer(application, listener)

    @property
    def port(self) -> int:
        """Port on which it listens."""
        return self._server.port

    def serve(self, finish: threading.Event) -> None:
        """Take runs until told to finish, and then for a limited time while trainings are ending too.

        A run that is not over by then stays in its journal, as after a crash, and goes on at the next start.

        Args:
            finish: set by another thread or a signal handler when the sidecar is to finish.
        """
        exporting = telemetry(self._meter.read, collector_variables(), self._settings.metrics_interval)
        while not finish.wait(LOOK_S):
            self.look()
        deadline_s = time.monotonic() + _FINISH_S
        while time.monotonic() < deadline_s and self._is_busy():
            self.look()
            time.sleep(LOOK_S)
        self._server.stop()
        if exporting is not None:
            exporting.close()

    def _is_busy(self) -> bool:
        runs = [one.run for one in self.kept]
        return any(run.known.ended or run.unheard_s < _SILENT_S for run in runs if not run.is_over)

    def _resume_all(self) -> None:
        for path in self._directory.glob(f"*{SPOOL_SUFFIX}"):
            if not path.with_suffix(SUFFIX).exists():
                # Of a run that is not remembered any more. What was not delivered stays.
                Spool(path).close()
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            try:
                self._resume(path)
            except (TraceletError, LookupError, ValueError, TypeError) as error:
                # A file of another version, or of another program, must not stop the other runs.
                log.warning("%s is left as it is: %s", path, error)

    def _resume(self, path: Path) -> None:
        journal = Journal(path)
        with journal.closed_on_error():
            state = journal.state
            self._check_ours(state)
            self._open(self._take(path.name.removesuffix(SUFFIX), journal, state["resource"]))
        log.info("run %s goes on from %s", path.name.removesuffix(SUFFIX), path)

    def _check_ours(self, state: Mapping[str, Any]) -> None:
        if not registry.have_same_stores(from_plain(state["settings"]), self._settings):
            raise ConfigurationError("it belongs to another backend or address")
