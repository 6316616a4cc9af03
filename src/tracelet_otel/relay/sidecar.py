"""A relay that belongs to no training: it takes the runs of all that have its token."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard, log
from tracelet_otel.errors import ConfigurationError, TraceletError
from tracelet_otel.exporters import registry
from tracelet_otel.protocol.messages import Status, Taken
from tracelet_otel.protocol.requests import MalformedError, by_run, count_points, earliest_unix_nano, resource_of
from tracelet_otel.protocol.run_identity import to_text
from tracelet_otel.relay.journal import SIDECAR_DIRECTORY, SUFFIX, Journal
from tracelet_otel.relay.parts import RequestPart, part_of
from tracelet_otel.relay.phase import EndedError, TooLateError
from tracelet_otel.relay.run import REOPENED, RelayedRun
from tracelet_otel.relay.server import Application, HttpServer, listen
from tracelet_otel.settings import Settings, from_plain, to_plain

_LOOK_S: Final = 0.2
_IDLE_S: Final = 120.0
"""A run from which nothing at all came for so long has lost its process."""
_REMEMBERED_S: Final = 3600.0
"""For so long a run that is over is known, should its process come back."""
_FINISH_S: Final = 25.0
"""What is left of the 30 seconds that Kubernetes gives a pod to end."""
_SILENT_S: Final = 5.0


class Sidecar:
    """Many runs, each with a journal of its own; ended by the stream, or by silence.

    Args:
        settings: backends and their addresses; names, projects and ids come from each run's resource.
        token: what each request has to bear.
        idle_s: close a run as killed when nothing came for so long.

    Raises:
        OSError: it cannot listen where `relay_bind` says.
        TraceletError: a backend is unknown or not installed.
    """

    def __init__(self, settings: Settings, token: str, idle_s: float = _IDLE_S) -> None:
        self._settings = registry.without_runs(registry.absolute(settings))
        self._idle_s = idle_s
        # Apart from those of relays that trainings launch: each finds its own again.
        self._directory = settings.journal_dir / SIDECAR_DIRECTORY
        self._changing = threading.RLock()
        self._runs: dict[str, RelayedRun] = {}
        self._closing: dict[str, threading.Thread] = {}
        # Before anything is accepted: what is not installed shows at once, and imports take seconds.
        registry.trackers(self._settings)
        self._resume_all()
        host, _, port = settings.relay_bind.rpartition(":")
        listener = listen(host.strip("[]"), int(port), other_port=False)
        self._server = HttpServer(Application(token, self._accept, self._status, Guard()), listener)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    def serve(self, finish: threading.Event) -> None:
        """Take runs until told to finish, and for a while longer where trainings are ending too.

        What is not over then stays in its journal, as after a crash, and goes on at the next start.
        """
        while not finish.wait(_LOOK_S):
            self._look(self._idle_s)
        deadline_s = time.monotonic() + _FINISH_S
        while time.monotonic() < deadline_s and self._is_busy():
            self._look(self._idle_s)
            time.sleep(_LOOK_S)
        self._server.stop()

    def _is_busy(self) -> bool:
        with self._changing:
            return any(run.ended or run.unheard_s < _SILENT_S for run in self._runs.values() if not run.status.over)

    def _look(self, idle_s: float) -> None:
        with self._changing:
            for run_id, run in list(self._runs.items()):
                if run_id in self._closing:
                    if run.status.over and run.unheard_s > _REMEMBERED_S:
                        del self._runs[run_id], self._closing[run_id]
                elif run.unheard_s > idle_s or (run.ended and not run.others_may_send):
                    self._close(run_id, run)
                else:
                    run.look()

    def _close(self, run_id: str, run: RelayedRun) -> None:
        def work() -> None:
            if not run.ended and run.discard():
                log.info("run %s was announced and never began", run_id)
            else:
                complete = run.close(self._settings.relay_patience)
                log.info(
                    "run %s is over: %s", run_id, "complete" if complete else f"not complete, see {run.status.journal}"
                )

        self._closing[run_id] = threading.Thread(target=work, name=f"tracelet-close-{run_id}", daemon=True)
        self._closing[run_id].start()

    def _accept(self, request: ExportMetricsServiceRequest) -> Taken:
        found = by_run(request)
        news: list[str] = []
        rejected = 0
        for run_id, own in found.items():
            try:
                news.append(self._accept_run(run_id, own))
            except (MalformedError, TooLateError) as error:
                if len(found) == 1:
                    raise
                # A collector sends the data of many runs in one request: one takes no other with it.
                news.append(f"run {run_id}: {error}")
                rejected += count_points(own)
        return Taken("\n".join(filter(None, news)), rejected)

    def _accept_run(self, run_id: str, request: ExportMetricsServiceRequest) -> str:
        if not re.fullmatch(semconv.RUN_ID_PATTERN, run_id):
            raise MalformedError(f"{semconv.RUN_ID} has to be 1 to 64 letters, digits, '_', '.' or '-'")
        return self._run(run_id, part_of(request)).problems

    def _run(self, run_id: str, part: RequestPart) -> RelayedRun:
        with self._changing:
            run = self._runs.get(run_id) or self._begin(run_id, _resource_of(part), {})
            try:
                run.accept(part)
            except EndedError:
                if not run.status.over:
                    raise
                # Its process was away for longer than we waited, as when a machine sleeps.
                memory = {} if Path(run.status.journal).exists() else run.memory
                run = self._begin(run_id, _resource_of(part), memory)
                run.accept(part)
        return run

    def _begin(self, run_id: str, resource: Mapping[str, Any], memory: Mapping[str, Any]) -> RelayedRun:
        journal = Journal(self._directory / f"{run_id}{SUFFIX}")
        with journal.closed_on_error():
            plain = to_plain(registry.for_a_journal(self._settings))
            journal.remember({"settings": plain, "resource": resource, **REOPENED, **memory})
            return self._take(run_id, journal, resource)

    def _take(self, run_id: str, journal: Journal, resource: Mapping[str, Any]) -> RelayedRun:
        run = RelayedRun(journal, Guard(), self._settings)
        run.resume(registry.trackers(self._settings), resource)
        self._runs[run_id] = run
        self._closing.pop(run_id, None)
        return run

    def _resume_all(self) -> None:
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            try:
                self._resume(path)
            except (TraceletError, LookupError, ValueError, TypeError) as error:
                # Whatever is in a file of another version, or of nobody's, it stops no other run.
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
        with self._changing:
            run = self._runs.get(run_id)
        if run is None:
            return None
        run.hear()
        return run.status


def _resource_of(part: RequestPart) -> dict[str, Any]:
    """Resource attributes of the first process of a run, with a time before which nothing was logged."""
    first_unix_nano = earliest_unix_nano(part.request)
    started = {} if first_unix_nano is None else {semconv.RUN_START_TIME: to_text(first_unix_nano)}
    # Who joins the relay says when its run began; what comes through a collector does not.
    return {**started, **resource_of(part.request)}
