"""A relay that is started apart from any training, and takes the runs of all trainings that have its token."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard, log
from tracelet_otel.errors import ConfigurationError, TraceletError
from tracelet_otel.exporters import registry
from tracelet_otel.exporters.otlp.exporter import collector_variables
from tracelet_otel.protocol.messages import Status, Taken
from tracelet_otel.protocol.requests import MalformedError, earliest_unix_nano, resource_of
from tracelet_otel.protocol.run_identity import to_text
from tracelet_otel.relay.clock import Clock
from tracelet_otel.relay.figures import RunFigures, total
from tracelet_otel.relay.journal import SIDECAR_DIRECTORY, SUFFIX, Journal
from tracelet_otel.relay.meter import RelayMeter
from tracelet_otel.relay.news import reopened
from tracelet_otel.relay.parts import RequestPart
from tracelet_otel.relay.phase import EndedError
from tracelet_otel.relay.run import RelayedRun
from tracelet_otel.relay.server import Application, HttpServer, TakesBeside, listen
from tracelet_otel.relay.taking import Accepted, take
from tracelet_otel.relay.telemetry import telemetry
from tracelet_otel.relay.traces import RunSpans, accept_spans
from tracelet_otel.relay.uploads import Uploads
from tracelet_otel.settings import Settings, from_plain, to_plain

_CHECK_INTERVAL_S: Final = 0.2
_CHECKS: Final = 5
"""In how many checks all runs are looked after once."""
_IDLE_S: Final = 120.0
"""A run from which nothing at all came for this many seconds is taken for one whose process was killed."""
_REMEMBERED_S: Final = 3600.0
"""How long a run that is over stays known, in case its process comes back."""
_AT_ONCE: Final = 4
"""How many runs are written to the disk at a time."""
_FINISH_S: Final = 25.0
"""How long a sidecar that was told to finish waits for runs: Kubernetes gives a pod 30 seconds to end."""
_SILENT_S: Final = 5.0
"""A sidecar that was told to finish does not wait for a run from which nothing came for this many seconds."""


class Sidecar:
    """Takes many runs, each with its own journal. A run ends when its owner ends it, or when nothing comes from it.

    Args:
        settings: backends and their addresses. Names, projects and ids come from the resource of each run.
        token: the bearer token that each request must have.
        idle_s: close a run as killed after this many seconds in which nothing came from it.

    Raises:
        OSError: it cannot listen on the address of `relay_bind`.
        TraceletError: a backend is unknown or not installed.
    """

    def __init__(self, settings: Settings, token: str, idle_s: float = _IDLE_S) -> None:
        self._settings = registry.without_runs(registry.absolute(settings))
        self._idle_s = idle_s
        # Not the directory of relays that trainings start, so that each finds only its own journals at the next start.
        self._directory = settings.journal_dir / SIDECAR_DIRECTORY
        self._lock = threading.Lock()
        self._clock = Clock()
        self._guard = Guard()
        # Each run's journal is a file of its own. What is written at the same time, the disk syncs together.
        self._runs_at_once = ThreadPoolExecutor(_AT_ONCE, "tracelet-run")
        self._runs: dict[str, RelayedRun] = {}
        self._closing: dict[str, threading.Thread] = {}
        self._forgotten = RunFigures()
        """What was counted of runs that are forgotten."""
        # Before any request is accepted: a missing package is an error at the start, and imports take seconds.
        registry.trackers(self._settings)
        self._resume_all()
        host, _, port = settings.relay_bind.rpartition(":")
        listener = listen(host.strip("[]"), int(port), other_port=False)
        self._meter = RelayMeter(self._figures)
        application = Application(
            token,
            self._accept,
            self._status,
            self._guard,
            self._clock,
            self._meter,
            TakesBeside(self._accept_spans, Uploads(lambda run_id: self._known(run_id).files.directory)),
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
        number = 0
        while not finish.wait(_CHECK_INTERVAL_S):
            # Each run in its turn, once a second: there may be hundreds.
            self._check_runs(number % _CHECKS, _CHECKS)
            number += 1
        deadline_s = time.monotonic() + _FINISH_S
        while time.monotonic() < deadline_s and self._is_busy():
            self._check_runs()
            time.sleep(_CHECK_INTERVAL_S)
        self._server.stop()
        if exporting is not None:
            exporting.close()

    def _count_runs(self) -> int:
        return max(len(self._runs) - len(self._closing), 1)

    def _is_busy(self) -> bool:
        with self._lock:
            runs = list(self._runs.values())
        return any(run.known.ended or run.unheard_s < _SILENT_S for run in runs if not run.is_over)

    def _check_runs(self, first: int = 0, step: int = 1) -> None:
        with self._lock:
            runs = list(self._runs.items())
        for run_id, run in runs[first::step]:
            try:
                self._check(run_id, run)
            except Exception as error:
                # A bug, which at least takes no other run along.
                self._guard.report(f"run {run_id} could not be looked after", error)

    def _check(self, run_id: str, run: RelayedRun) -> None:
        if run_id not in self._closing:
            if run.unheard_s > self._idle_s or (run.known.ended and not run.others_may_send):
                self._close(run_id, run)
            else:
                run.look()
        elif run.is_over and run.unheard_s > _REMEMBERED_S:
            counts = run.figures.counts
            with self._lock:
                # It may have begun again in the meantime.
                if self._runs.get(run_id) is run:
                    del self._runs[run_id], self._closing[run_id]
                    self._forgotten = total([self._forgotten, counts])

    def _figures(self) -> list[RunFigures]:
        with self._lock:
            runs, forgotten = list(self._runs.values()), self._forgotten
        return [forgotten, *(run.figures for run in runs)]

    def _close(self, run_id: str, run: RelayedRun) -> None:
        def work() -> None:
            if not run.known.ended and run.discard():
                log.info("run %s was announced and never began", run_id)
            else:
                complete = run.close(self._settings.relay_patience)
                log.info(
                    "run %s is over: %s", run_id, "complete" if complete else f"not complete, see {run.status.journal}"
                )

        closing = threading.Thread(target=work, name=f"tracelet-close-{run_id}", daemon=True)
        with self._lock:
            if self._runs.get(run_id) is not run:
                return
            self._closing[run_id] = closing
        closing.start()

    def _accept(self, requests: Sequence[ExportMetricsServiceRequest]) -> list[Taken | Exception]:
        return take(requests, self._accept_parts, self._runs_at_once.map)

    def _accept_spans(self, content: bytes) -> None:
        accept_spans(content, self._spans_of)

    def _spans_of(self, run_id: str) -> RunSpans:
        return self._known(run_id).spans

    def _known(self, run_id: str) -> RelayedRun:
        with self._lock:
            run = self._runs.get(run_id)
        if run is None:
            # Its metrics come on another way, and may be here in a moment.
            raise EndedError(f"there is no run {run_id!r}")
        return run

    def _accept_parts(self, run_id: str, parts: Sequence[RequestPart]) -> Accepted:
        if not re.fullmatch(semconv.RUN_ID_PATTERN, run_id):
            error = MalformedError(
                f"{semconv.RUN_ID} has to be 1 to 64 letters, digits, '_', '.' or '-', and no '.' comes first"
            )
            return Accepted([error for _ in parts], "")
        try:
            return self._accepted(run_id, parts)
        except TraceletError as error:
            return Accepted([error for _ in parts], "")

    def _accepted(self, run_id: str, parts: Sequence[RequestPart]) -> Accepted:
        run = self._runs.get(run_id) or self._begin(run_id, _resource_of(parts[0]), {})
        errors = run.accept(parts)
        if any(isinstance(error, EndedError) for error in errors) and run.is_over:
            # Nothing came from its process for so long that the run was closed, as when a machine sleeps.
            memory = {} if Path(run.status.journal).exists() else run.known.memory
            run = self._begin(run_id, _resource_of(parts[0]), memory)
            errors = run.accept(parts)
        return Accepted(errors, run.problems)

    def _begin(self, run_id: str, resource: Mapping[str, Any], memory: Mapping[str, Any]) -> RelayedRun:
        journal = Journal(self._directory / f"{run_id}{SUFFIX}")
        with journal.closed_on_error():
            plain = to_plain(registry.for_a_journal(self._settings))
            journal.remember({"settings": plain, "resource": resource, **reopened(journal.state), **memory})
            return self._take(run_id, journal, resource)

    def _take(self, run_id: str, journal: Journal, resource: Mapping[str, Any]) -> RelayedRun:
        run = RelayedRun(journal, Guard(), self._settings, self._clock, self._count_runs)
        run.resume(registry.trackers(self._settings), resource)
        before = self._runs.get(run_id)
        counts = RunFigures() if before is None else before.figures.counts
        with self._lock:
            # That one is over, and may have been forgotten by another thread in the meantime.
            if self._runs.get(run_id) is before:
                self._forgotten = total([self._forgotten, counts])
            self._runs[run_id] = run
            self._closing.pop(run_id, None)
        return run

    def _resume_all(self) -> None:
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
            self._take(path.name.removesuffix(SUFFIX), journal, state["resource"])
        log.info("run %s goes on from %s", path.name.removesuffix(SUFFIX), path)

    def _check_ours(self, state: Mapping[str, Any]) -> None:
        if not registry.have_same_stores(from_plain(state["settings"]), self._settings):
            raise ConfigurationError("it belongs to another backend or address")

    def _status(self, run_id: str) -> Status | None:
        with self._lock:
            run = self._runs.get(run_id)
        if run is None:
            return None
        run.hear()
        return run.status


def _resource_of(part: RequestPart) -> dict[str, Any]:
    """Resource attributes of the first process of a run. The run's start is the time of the earliest data point."""
    first_unix_nano = earliest_unix_nano(part.resources)
    started = {} if first_unix_nano is None else {semconv.RUN_START_TIME: to_text(first_unix_nano)}
    # A training that joined the relay reports when its run began, and that is kept. Through a collector, none does.
    return {**started, **resource_of(part.resources[0])}
