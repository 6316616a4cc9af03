"""Starts the relay of a run as a process of its own, and starts it again if it dies."""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import subprocess
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final

from tracelet_otel._support.processes import started
from tracelet_otel.errors import TrackerError, TrackerUnavailableError
from tracelet_otel.exporters.otlp.exporter import collector_variables
from tracelet_otel.protocol.messages import Order, Ready
from tracelet_otel.relay.journal import SUFFIX, Journal, JournalError, JournalInUseError
from tracelet_otel.session.ahead import Needs, WaitingRelay, take
from tracelet_otel.session.calls import Address
from tracelet_otel.session.transport import HttpRelay
from tracelet_otel.settings import Settings, to_plain

_AGAIN_S: Final = 30.0
"""How long a relay that is started again may take until it listens."""

_launched: weakref.WeakSet[RelayProcess] = weakref.WeakSet()
"""All relays that this process has started."""


class RelayProcess(HttpRelay):
    """A `RelayConnection` to a relay that this process starts, as a process in a session of its own.

    This process holds one end of a pipe. The relay ends once the pipe is closed and everything is delivered.

    Args:
        settings: settings of the run, as `registry.absolute` returns them, so that they mean the same in the relay.
        resource: attributes of the run's resource.
        run_id: id of the run.
        waits: whether the relay starts before its backends have the run, and waits for them.

    Raises:
        TraceletError: the relay could not be started, or a backend can neither create nor continue the run.
    """

    def __init__(self, settings: Settings, resource: Mapping[str, Any], run_id: str, *, waits: bool = False) -> None:
        host, _, port = settings.relay_bind.rpartition(":")
        self._host = host.strip("[]")
        self._needs = Needs.of(settings)
        self._log = settings.journal_dir / f"{run_id}.log"
        self._changing = threading.Lock()
        self._released = False
        self._order = Order(
            settings=to_plain(settings),
            resource={name: _plain(value) for name, value in resource.items()},
            run_id=run_id,
            token=secrets.token_urlsafe(32),
            journal_directory=str(settings.journal_dir),
            host=self._host,
            port=int(port),
            owner_pid=os.getpid(),
            owner_started=started(os.getpid()),
            resumes=waits,
            collector=collector_variables(),
            environment=self._needs.environment,
        )
        try:
            ready = self._start(take(self._needs), self._order, settings.start_timeout)
        except BaseException:
            # A relay that was killed could not remove its empty journal itself.
            remove_empty(settings.journal_dir / f"{run_id}{SUFFIX}")
            raise
        self.tells = True
        """The relay reports how far the delivery is."""
        self.urls: Mapping[str, str] = ready.urls
        """Addresses at which people look at the run, by backend."""
        self.hints: Mapping[str, str] = ready.hints
        """What has to be done before people can see the run, by backend."""

    @property
    def address(self) -> Address:
        """Address and token of the relay that runs now."""
        reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104
        shown = f"[{reachable}]" if ":" in reachable else reachable
        return Address(f"http://{shown}:{self._order.port}", self._order.token)

    @property
    def pid(self) -> int:
        """Pid of the relay that runs now."""
        return self._child.process.pid

    @property
    def log(self) -> str:
        """Path of the file with the output of the relay and its trackers."""
        return str(self._log)

    def revive(self, wait_s: float = _AGAIN_S) -> None:
        """Start the relay again if it has died, with the same journal and port.

        Args:
            wait_s: seconds that it may take until the relay listens.

        Raises:
            TraceletError: the relay could not be started.
        """
        if not self._changing.acquire(timeout=wait_s):
            return  # another thread is starting it
        try:
            if not self._released and self._child.process.poll() is not None:
                self._child.close_pipe()
                # It answers before it imports any client, so that it takes values as soon as it can.
                child = WaitingRelay(replace(self._needs, modules=()))
                self._start(child, replace(self._order, resumes=True), min(wait_s, _AGAIN_S))
        finally:
            self._changing.release()

    def release(self, wait_s: float) -> None:
        """Tell the relay to end once it has delivered everything.

        Args:
            wait_s: seconds to wait for its end. After that it goes on without this process.
        """
        self._released = True
        if not self._changing.acquire(timeout=wait_s):
            # The thread that is starting the relay again closes the pipe, since `_released` is set.
            return
        try:
            self._child.close_pipe()
        finally:
            self._changing.release()
        try:
            self._child.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            # A process that ends and is not waited for stays as a zombie.
            with contextlib.suppress(RuntimeError):  # at exit some interpreters start no more threads
                threading.Thread(target=self._child.process.wait, name="tracelet-reaper", daemon=True).start()

    def abandon(self) -> None:
        """Kill a relay that could not begin."""
        self._child.kill()

    def _start(self, child: WaitingRelay, order: Order, timeout_s: float) -> Ready:
        self._child = child
        _launched.add(self)
        ready: Ready | None = None
        try:
            ready = self._talk(child, order, time.monotonic() + timeout_s)
            ready.raise_error()
        except BaseException:
            if ready is None:
                child.keep_printed(self._log)
            elif not order.resumes:
                # The relay's answer has the error, so its log file is not needed.
                self._log.unlink(missing_ok=True)
            self.abandon()
            raise
        child.keep_printed(self._log)
        self._order = replace(order, port=ready.port)
        if self._released:
            child.close_pipe()
        return ready

    def _talk(self, child: WaitingRelay, order: Order, deadline: float) -> Ready:
        line = b""
        try:
            left = memoryview(f"{order.line()}\n".encode())
            while left:
                left = left[child.orders.write(left) or 0 :]
            while not line.endswith(b"\n"):
                if not _is_readable(child.answers, deadline):
                    raise TrackerUnavailableError(
                        f"no answer from {', '.join(order.settings['backend'])} within "
                        f"{order.settings['start_timeout']:g} s: is the backend up? (start_timeout; see {self._log})"
                    )
                part = child.answers.read(65536)
                if not part:
                    raise TrackerError(f"the relay ended at its start: see {self._log}")
                line += part
        except BrokenPipeError:
            raise TrackerError(f"the relay ended at its start: see {self._log}") from None
        finally:
            child.answers.close()
        return Ready.from_line(line.decode())

    def _let_go_in_child(self) -> None:
        self._released = True


def remove_empty(path: Path) -> None:
    """Delete a journal that is empty and that no process has open."""
    if not path.exists():
        return
    # Another process may have the same run, and its journal open.
    with contextlib.suppress(JournalInUseError, JournalError):
        journal = Journal(path)
        if journal.is_empty:
            journal.remove()
        else:
            journal.close()


def _let_go_in_child() -> None:
    # Who has forked may need the relay, which is started again by that process only.
    for process in _launched:
        process._let_go_in_child()


os.register_at_fork(after_in_child=_let_go_in_child)


def _is_readable(pipe: IO[bytes], deadline: float) -> bool:
    # Not `select.select`: it cannot handle descriptors above 1023, which a training with many workers has.
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        return bool(selector.select(max(deadline - time.monotonic(), 0)))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
