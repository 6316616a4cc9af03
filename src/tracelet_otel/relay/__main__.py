"""The entry point of a relay's process, `python -m tracelet_otel.relay`, which gets its order on standard input."""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Final

from tracelet_otel import semconv
from tracelet_otel._support.environment import replace_environment
from tracelet_otel._support.guard import Guard, log
from tracelet_otel.errors import TraceletError
from tracelet_otel.protocol.messages import Order, Ready, Status
from tracelet_otel.protocol.requests import MalformedError
from tracelet_otel.relay.children import ChildRuns
from tracelet_otel.relay.clock import Clock
from tracelet_otel.relay.ends import Ends
from tracelet_otel.relay.handover import give_way
from tracelet_otel.relay.meter import RelayMeter
from tracelet_otel.relay.owner_process import OwnerProcess
from tracelet_otel.relay.parts import RequestPart
from tracelet_otel.relay.process import prepare
from tracelet_otel.relay.recovery import adopt
from tracelet_otel.relay.run import RelayedRun
from tracelet_otel.relay.runs import LOOK_S
from tracelet_otel.relay.server import Application, HttpServer, TakesBeside, listen
from tracelet_otel.relay.single import SingleRunRelay
from tracelet_otel.relay.taking import Accepted, take
from tracelet_otel.relay.telemetry import telemetry
from tracelet_otel.relay.traces import accept_spans
from tracelet_otel.relay.uploads import Uploads

_CHECK_INTERVAL_S: Final = 0.1
_ANSWERING_S: Final = 5.0
"""How long a relay that was told to finish goes on to answer its owner, which asks twice a second."""
_QUIET_S: Final = 0.5
"""A relay gives way to the next one of its run once nothing has come for so long: what was sent is in the journal."""


class RelayService:
    """Serves a run and its child runs by HTTP, to the process that owns it, to other ranks, and to its children.

    Args:
        order: what the relay has to do.
        answer_fd: file descriptor to which the answer to the order is written, one line of `Ready`.
    """

    def __init__(self, order: Order, answer_fd: int) -> None:
        self._order = order
        self._answer_fd = answer_fd
        self._finish = threading.Event()
        self._is_alone = threading.Event()
        """Set once there is nothing to do but for child runs."""
        guard, clock, ends = Guard(), Clock(), Ends()
        self._owner = OwnerProcess(sys.stdin.buffer, order.owner_pid, order.owner_started)
        self._relay = SingleRunRelay(
            order, guard, lambda: self._owner.is_gone, clock, ends, lambda: len(self._children) + 1
        )
        self._run = self._relay.run
        self._children = ChildRuns(self._relay, guard, clock, ends, resumes=order.resumes)
        give_way(self._relay.journal.path, self._may_give_way)
        listener = listen(order.host, order.port)
        self._meter = RelayMeter(lambda: [self._run.figures, *self._children.figures])
        application = Application(
            order.token,
            lambda requests: take(requests, self._accept, self._children.each),
            self._status,
            guard,
            clock,
            self._meter,
            TakesBeside(
                lambda content: accept_spans(content, lambda run_id: self._run_of(run_id).spans),
                Uploads(lambda run_id: self._run_of(run_id).files.directory),
            ),
        )
        self._server = HttpServer(application, listener)
        # A relay that gets SIGTERM finishes: it delivers what it has and ends the run.
        signal.signal(signal.SIGTERM, lambda *_: self._finish.set())

    def run(self) -> int:
        """Serve until all runs are over; return the exit code of the process."""
        try:
            self._relay.open(self._server.port, self._answer)
            self._children.open()
        except Exception as error:
            self._relay.give_back()
            self._answer(Ready.from_error(error))
            if not isinstance(error, TraceletError):
                raise
            return 1
        resource = self._order.resource
        named = {name: resource[name] for name in (semconv.RUN_ID, semconv.RUN_NAME) if name in resource}
        exporting = telemetry(self._meter.read, self._order.collector, self._relay.settings.metrics_interval, named)
        prepare()
        adopting = threading.Thread(target=self._adopt, name="tracelet-adoption", daemon=True)
        adopting.start()
        with_children = threading.Thread(target=self._look_after_children, name="tracelet-children", daemon=True)
        with_children.start()
        is_complete = self._relay.deliver(self._finish.is_set)
        self._wait_for_owner()
        if is_complete:
            self._relay.leave(is_known=self._run.known.ended or self._owner.is_gone)
        self._is_alone.set()
        self._children.begun.set()
        with_children.join()
        if exporting is not None:
            exporting.close()
        self._server.stop()
        adopting.join()
        is_complete = is_complete and self._children.are_complete
        if is_complete and not self._run.status.errors:
            self._order.log.unlink(missing_ok=True)
        return 0 if is_complete else 1

    def _may_give_way(self) -> bool:
        """Whether nothing is lost where this process ends: all that was sent is kept, and no child run is open."""
        return self._owner.is_gone and self._run.unheard_s > _QUIET_S and not len(self._children)

    def _look_after_children(self) -> None:
        self._children.begun.wait()
        while not (self._is_alone.is_set() and self._children.end()):
            self._children.look(is_told_to_finish=self._finish.is_set())
            time.sleep(LOOK_S)

    def _accept(self, run_id: str, parts: Sequence[RequestPart]) -> Accepted:
        if run_id == self._order.run_id:
            return self._relay.accept_parts(run_id, parts)
        return self._children.accept(run_id, parts)

    def _run_of(self, run_id: str) -> RelayedRun:
        if run_id == self._order.run_id:
            return self._run
        if not self._children.has(run_id):
            raise MalformedError(f"this relay has no run {run_id!r}")
        return self._children.known(run_id)

    def _status(self, run_id: str) -> Status | None:
        if run_id != self._order.run_id:
            return self._children.status(run_id)
        return replace(self._run.status, goes_on=len(self._children) > 0)

    def _wait_for_owner(self) -> None:
        """Keep the server up for the owner, which asks what became of its rows, until it is gone.

        A relay that was told to finish does so only for a limited time.
        """
        limit_s = self._relay.settings.stop_timeout if self._run.known.ended else _ANSWERING_S
        over_s = time.monotonic()
        while not self._owner.wait(_CHECK_INTERVAL_S):
            if self._finish.is_set() and time.monotonic() - over_s > limit_s:
                return

    def _adopt(self) -> None:
        adopt(self._relay.journal.path.parent, self._relay.settings, lambda: self._run.is_over)

    def _answer(self, ready: Ready) -> None:
        try:
            os.write(self._answer_fd, f"{ready.line()}\n".encode())
        except BrokenPipeError:
            # The owner has died in the meantime. If the run exists by now, it is closed as that of a killed training.
            log.warning("nobody waits for the relay any more")
        finally:
            os.close(self._answer_fd)


def _awaited(modules: Sequence[str]) -> Order:
    """Import modules until the order comes, and all of them. The process ends where the owner does before."""
    lines: list[bytes] = []

    def read() -> None:
        lines.append(sys.stdin.buffer.readline())
        if not lines[0]:
            os._exit(0)

    reading = threading.Thread(target=read, name="tracelet-order", daemon=True)
    reading.start()
    for name in modules:
        # Where one cannot be imported, this is said when the tracker is opened.
        with contextlib.suppress(Exception):
            import_module(name)
    reading.join()
    return Order.from_line(lines[0].decode())


def _begin_log(path: Path) -> None:
    """Write what this process and its libraries print to a file from now on."""
    log_fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    os.close(log_fd)


def main() -> int:
    """Read the order from standard input and carry it out; return the exit code of the process."""
    # Standard output is only for the answer. What libraries print goes to standard error, which is the log.
    answer_fd = os.dup(1)
    os.dup2(2, 1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # What is imported now stays. To search it for garbage again and again would take a fifth of the time.
    gc.disable()
    order = _awaited(sys.argv[1:])
    _begin_log(order.log)
    replace_environment(order.environment)
    exit_code = 1

    def end() -> None:
        logging.shutdown()
        os._exit(exit_code)

    # The owner waits for this process. To free all that clients of trackers have loaded would take it a fifth of a
    # second, so the process ends without, once what libraries have registered since is done.
    atexit.register(end)
    try:
        exit_code = RelayService(order, answer_fd).run()
    except (TraceletError, OSError) as error:
        os.write(answer_fd, f"{Ready.from_error(error).line()}\n".encode())
        raise
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
