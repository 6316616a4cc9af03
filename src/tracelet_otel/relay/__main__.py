"""The relay's process: `python -m tracelet_otel.relay`, with its order on standard input."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

from tracelet_otel._support.guard import Guard, log
from tracelet_otel.errors import TraceletError
from tracelet_otel.protocol.messages import Order, Ready
from tracelet_otel.relay.owner_process import OwnerProcess
from tracelet_otel.relay.recovery import adopt
from tracelet_otel.relay.server import Application, HttpServer, listen
from tracelet_otel.relay.single import SingleRunRelay

_LOOK_S: Final = 0.1
_ASKED_S: Final = 5.0
"""For so long a relay that was told to finish still answers its owner, who asks twice a second."""


class RelayService:
    """One run, served by HTTP to the process that owns it and to other ranks.

    Args:
        order: what to do.
        answers: where the one line goes that says whether it can be done.
    """

    def __init__(self, order: Order, answers: int) -> None:
        self._order = order
        self._answers = answers
        self._finish = threading.Event()
        guard = Guard()
        self._relay = SingleRunRelay(order, guard)
        self._run = self._relay.run
        self._owner = OwnerProcess(sys.stdin.buffer, order.owner_pid, order.owner_started)
        listener = listen(order.host, order.port)
        self._server = HttpServer(Application(order.token, self._relay.accept, self._relay.status, guard), listener)
        # It means: finish up.
        signal.signal(signal.SIGTERM, lambda *_: self._finish.set())

    def run(self) -> int:
        """Serve until the run is over; returns the exit code."""
        try:
            self._relay.open(self._server.port, self._answer)
        except Exception as error:
            self._relay.give_back()
            self._answer(Ready.from_error(error))
            if not isinstance(error, TraceletError):
                raise
            return 1
        adopting = threading.Thread(target=self._adopt, name="tracelet-adoption", daemon=True)
        adopting.start()
        is_complete = self._relay.deliver(self._finish.is_set, lambda: self._owner.is_gone)
        self._wait_for_owner()
        self._server.stop()
        adopting.join()
        if is_complete:
            self._relay.leave(is_known=self._run.ended or self._owner.is_gone)
            if not self._run.status.errors:
                Path(self._order.journal_directory, f"{self._order.run_id}.log").unlink(missing_ok=True)
        return 0 if is_complete else 1

    def _wait_for_owner(self) -> None:
        """It asks what became of its rows: at once after the run's end, and some time before."""
        limit_s = self._relay.settings.stop_timeout if self._run.ended else _ASKED_S
        over_s = time.monotonic()
        while not self._owner.is_gone and not (self._finish.is_set() and time.monotonic() - over_s > limit_s):
            time.sleep(_LOOK_S)

    def _adopt(self) -> None:
        path = self._relay.journal.path
        adopt(path.parent, path, self._relay.settings, lambda: self._run.status.over)

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
        return RelayService(order, answers).run()
    except (TraceletError, OSError) as error:
        os.write(answers, f"{Ready.from_error(error).line()}\n".encode())
        raise


if __name__ == "__main__":
    sys.exit(main())
