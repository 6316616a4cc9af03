"""The relay's process: `python -m tracelet_otel.relay`, with its order on standard input."""

from __future__ import annotations

import logging
import os
import platform
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tracelet_otel._support.guard import Guard, log
from tracelet_otel.errors import TraceletError
from tracelet_otel.exporters import registry
from tracelet_otel.exporters.base import Tracker
from tracelet_otel.protocol.messages import Order, Ready, Status, Taken
from tracelet_otel.protocol.requests import MalformedError, by_run
from tracelet_otel.relay.journal import SUFFIX, Journal
from tracelet_otel.relay.owner import Owner
from tracelet_otel.relay.parts import part_of
from tracelet_otel.relay.recovery import adopt
from tracelet_otel.relay.run import REOPENED, RelayedRun
from tracelet_otel.relay.server import Application, HttpServer, listen
from tracelet_otel.settings import from_plain, to_plain

_LOOK_S: Final = 0.1
_LOOKED_AT_S: Final = 2.0
_ASKED_S: Final = 5.0
"""For so long a relay that was told to finish still answers its owner, who asks twice a second."""
_SILENT_S: Final = 2.0
"""Without an owner, the run ends when no new row has come for so long: an export may be on its way."""


class Relay:
    """One run, from the first request to the last delivery.

    Args:
        order: what to do.
        answers: where the one line goes that says whether it can be done.
    """

    def __init__(self, order: Order, answers: int) -> None:
        self._order = order
        self._answers = answers
        self._settings = from_plain(order.settings)
        self._finish = threading.Event()
        guard = Guard()
        # A relay that starts beside it may look whether the new file is an orphan.
        self._journal = Journal(Path(order.journal_directory) / f"{order.run_id}{SUFFIX}", _LOOKED_AT_S)
        self._run = RelayedRun(self._journal, guard, self._settings)
        # A run that is continued may have left something: it is delivered first, and goes on. So does
        # one whose relay was told to finish while its owner had more to say.
        self._reopens = not order.resumes or (self._run.status.over and not self._run.ended)
        if self._reopens:
            self._run.reopen()
        self._owner = Owner(sys.stdin.buffer, order.owner_pid, order.owner_started)
        listener = listen(order.host, order.port)
        self._server = HttpServer(Application(order.token, self._accept, self._status, guard), listener)
        # It means: finish up.
        signal.signal(signal.SIGTERM, lambda *_: self._finish.set())

    def run(self) -> int:
        """Serve until the run is over; returns the exit code."""
        try:
            self._open()
        except Exception as error:
            self._let_go()
            self._answer(Ready.from_error(error))
            if not isinstance(error, TraceletError):
                raise
            return 1
        adopting = threading.Thread(target=self._adopt, name="tracelet-adoption", daemon=True)
        adopting.start()
        while not self._is_over():
            time.sleep(_LOOK_S)
            self._run.look()
        complete = self._run.close(self._settings.relay_patience, marks=True)
        self._wait_for_owner()
        self._server.stop()
        adopting.join()
        if complete:
            if self._run.ended or self._owner.is_gone:
                self._run.forget()
            else:
                self._journal.close()
        if complete and not self._run.status.errors:
            Path(self._order.journal_directory, f"{self._order.run_id}.log").unlink(missing_ok=True)
        return 0 if complete else 1

    def _open(self) -> None:
        ready = Ready(self._server.port, self._order.run_id)
        if self._run.status.over:
            # A relay before this one was done and was killed: the owner has yet to ask.
            self._answer(ready)
            return
        state = {
            "settings": to_plain(registry.for_a_journal(self._settings)),
            "resource": self._order.resource,
            "owner": {"host": platform.node(), "pid": self._order.owner_pid, "started": self._order.owner_started},
            **(REOPENED if self._reopens else {}),
        }
        if self._order.resumes:
            self._journal.remember(state)
            self._answer(ready)
            self._run.resume(self._trackers(), self._order.resource)
            return
        # What an earlier run left stays as it was until this one has really begun.
        if "settings" not in self._journal.state:
            self._journal.remember(state)
        places = self._run.open(self._trackers(), self._order.resource)
        self._journal.remember(state)
        urls = {name: place.url for name, place in places.items()}
        hints = {name: place.hint for name, place in places.items() if place.hint}
        self._answer(replace(ready, urls=urls, hints=hints))

    def _wait_for_owner(self) -> None:
        """It asks what became of its rows: at once after the run's end, and some time before."""
        limit_s = self._settings.stop_timeout if self._run.ended else _ASKED_S
        over_s = time.monotonic()
        while not self._owner.is_gone and not (self._finish.is_set() and time.monotonic() - over_s > limit_s):
            time.sleep(_LOOK_S)

    def _adopt(self) -> None:
        adopt(self._journal.path.parent, self._journal.path, self._settings, lambda: self._run.status.over)

    def _let_go(self) -> None:
        if self._journal.is_empty:
            self._journal.remove()
        else:
            self._journal.close()

    def _trackers(self) -> dict[str, Tracker]:
        return registry.trackers(self._settings)

    def _is_over(self) -> bool:
        if not (self._run.ended or self._finish.is_set() or self._owner.is_gone):
            return False
        # Other ranks have their last rows on the way, or are about to find that rank 0 is gone.
        if self._run.others_may_send and self._run.silent_s < self._settings.stop_timeout:
            return False
        if self._run.ended:
            return True
        if self._finish.is_set() and self._owner.is_gone:
            # A rank that was never heard of may send at its next interval, but somebody wants an end to it.
            return self._run.silent_s > _SILENT_S
        return self._run.silent_s > max(_SILENT_S, 2 * self._settings.export_interval)

    def _accept(self, request: ExportMetricsServiceRequest) -> Taken:
        found = by_run(request)
        for run_id in found.keys() - {self._order.run_id}:
            raise MalformedError(f"this relay has no run {run_id!r}")
        for own in found.values():
            self._run.accept(part_of(own))
        return Taken(self._run.problems)

    def _status(self, run_id: str) -> Status | None:
        return self._run.status if run_id == self._order.run_id else None

    def _answer(self, ready: Ready) -> None:
        try:
            os.write(self._answers, f"{ready.line()}\n".encode())
        except BrokenPipeError:
            # The owner has died meanwhile: the run that is there by now is closed as that of a killed training.
            log.warning("nobody waits for the relay any more")
        finally:
            os.close(self._answers)


def main() -> int:
    """Read the order, and do it."""
    # What libraries print goes to the log, where standard error is.
    answers = os.dup(1)
    os.dup2(2, 1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    order = Order.from_line(sys.stdin.buffer.readline().decode())
    try:
        return Relay(order, answers).run()
    except (TraceletError, OSError) as error:
        os.write(answers, f"{Ready.from_error(error).line()}\n".encode())
        raise


if __name__ == "__main__":
    sys.exit(main())
