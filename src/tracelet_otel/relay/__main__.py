"""The entry point of a relay's process, `python -m tracelet_otel.relay`, which gets its order on standard input."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard, log
from tracelet_otel.errors import TraceletError
from tracelet_otel.protocol.messages import Order, Ready
from tracelet_otel.relay.clock import Clock
from tracelet_otel.relay.meter import RelayMeter
from tracelet_otel.relay.owner_process import OwnerProcess
from tracelet_otel.relay.process import prepare
from tracelet_otel.relay.recovery import adopt
from tracelet_otel.relay.server import Application, HttpServer, TakesBeside, listen
from tracelet_otel.relay.single import SingleRunRelay
from tracelet_otel.relay.telemetry import telemetry
from tracelet_otel.relay.uploads import Uploads

_CHECK_INTERVAL_S: Final = 0.1
_ANSWERING_S: Final = 5.0
"""How long a relay that was told to finish goes on to answer its owner, which asks twice a second."""


class RelayService:
    """Serves one run by HTTP, to the process that owns it and to other ranks.

    Args:
        order: what the relay has to do.
        answer_fd: file descriptor to which the answer to the order is written, one line of `Ready`.
    """

    def __init__(self, order: Order, answer_fd: int) -> None:
        self._order = order
        self._answer_fd = answer_fd
        self._finish = threading.Event()
        guard, clock = Guard(), Clock()
        self._relay = SingleRunRelay(order, guard, clock)
        self._run = self._relay.run
        self._owner = OwnerProcess(sys.stdin.buffer, order.owner_pid, order.owner_started)
        listener = listen(order.host, order.port)
        self._meter = RelayMeter(lambda: [self._run.figures])
        relay = self._relay
        application = Application(
            order.token,
            relay.accept,
            relay.status,
            guard,
            clock,
            self._meter,
            TakesBeside(relay.accept_spans, Uploads(relay.spool_of)),
        )
        self._server = HttpServer(application, listener)
        # A relay that gets SIGTERM finishes: it delivers what it has and ends the run.
        signal.signal(signal.SIGTERM, lambda *_: self._finish.set())

    def run(self) -> int:
        """Serve until the run is over; return the exit code of the process."""
        try:
            self._relay.open(self._server.port, self._answer)
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
        is_complete = self._relay.deliver(self._finish.is_set, lambda: self._owner.is_gone)
        if exporting is not None:
            exporting.close()
        self._wait_for_owner()
        self._server.stop()
        adopting.join()
        if is_complete:
            self._relay.leave(is_known=self._run.known.ended or self._owner.is_gone)
            if not self._run.status.errors:
                Path(self._order.journal_directory, f"{self._order.run_id}.log").unlink(missing_ok=True)
        return 0 if is_complete else 1

    def _wait_for_owner(self) -> None:
        """Keep the server up for the owner, which asks what became of its rows, until it is gone.

        A relay that was told to finish does so only for a limited time.
        """
        limit_s = self._relay.settings.stop_timeout if self._run.known.ended else _ANSWERING_S
        over_s = time.monotonic()
        while not self._owner.is_gone and not (self._finish.is_set() and time.monotonic() - over_s > limit_s):
            time.sleep(_CHECK_INTERVAL_S)

    def _adopt(self) -> None:
        path = self._relay.journal.path
        adopt(path.parent, path, self._relay.settings, lambda: self._run.is_over)

    def _answer(self, ready: Ready) -> None:
        try:
            os.write(self._answer_fd, f"{ready.line()}\n".encode())
        except BrokenPipeError:
            # The owner has died in the meantime. If the run exists by now, it is closed as that of a killed training.
            log.warning("nobody waits for the relay any more")
        finally:
            os.close(self._answer_fd)


def main() -> int:
    """Read the order from standard input and carry it out; return the exit code of the process."""
    # Standard output is only for the answer. What libraries print goes to standard error, which is the log.
    answer_fd = os.dup(1)
    os.dup2(2, 1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    order = Order.from_line(sys.stdin.buffer.readline().decode())
    try:
        return RelayService(order, answer_fd).run()
    except (TraceletError, OSError) as error:
        os.write(answer_fd, f"{Ready.from_error(error).line()}\n".encode())
        raise


if __name__ == "__main__":
    sys.exit(main())
