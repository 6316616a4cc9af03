"""The console process: `python -m tracelet_otel.console PATH`. A training starts it, and it reads what that prints.

Its standard input is a connection to that training. Ranks that the training starts print to where it prints, so they
connect to the same process at a socket, and get places of their own.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Final

from tracelet_otel.console.passing import Passing
from tracelet_otel.console.record import Record
from tracelet_otel.protocol.console_calls import DONE, END, PLACE, PUT, READY, UNKNOWN, Key, Registration, Talk

_LOOK_S: Final = 0.2
_DRAIN_S: Final = 60.0
"""So long a training that ends waits at most until what it has printed is passed on; it gives up before."""


class ConsoleProcess:
    """All trainings that print to one place, with a thread for each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[Key, Passing] = {}
        """By what a training writes to."""
        self._open = 0
        """Descriptors that are read."""
        self._threads: list[threading.Thread] = []

    @property
    def is_needed(self) -> bool:
        """Whether somebody prints, or may do so."""
        with self._lock:
            self._threads = [one for one in self._threads if one.is_alive()]
            return bool(self._open or self._threads)

    def take(self, connection: socket.socket) -> None:
        """Serve a training that has connected."""
        thread = threading.Thread(target=self._serve, args=(Talk(connection),), name="tracelet-console", daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _serve(self, talk: Talk) -> None:
        with contextlib.suppress(OSError, ValueError):
            registration, descriptors = talk.registered()
            number = len(registration.keys)
            sources, targets = descriptors[:number], descriptors[number:]
            with self._lock:
                before = [self._places.get(key) for key in registration.onto]
            if not all(before):
                for one in descriptors:
                    os.close(one)
                talk.say(UNKNOWN)
                return
            targets = targets or [os.dup(one.target) for one in before if one is not None]
            self._follow(talk, registration, list(zip(sources, targets, strict=True)))
        talk.close()

    def _follow(self, talk: Talk, registration: Registration, pairs: list[tuple[int, int]]) -> None:
        tell = partial(_tell, talk) if registration.tells else None
        on_put = partial(_say_put, talk)
        record = Record(registration.streams, registration.secrets, tell, on_put) if registration.records else None
        left = threading.Semaphore(0)
        passings = []
        for number, (source, target) in enumerate(pairs):
            on_data = _nothing if record is None else partial(record.add, number)
            on_end = partial(self._ended, registration.keys[number], target, left)
            passings.append(Passing(source, target, on_data, on_end))
        with self._lock:
            self._open += len(passings)
            self._places.update(zip(registration.keys, passings, strict=True))
        with contextlib.suppress(OSError):
            talk.say(READY)
        has_said = False
        for kind, value in talk.messages():
            if kind == PLACE and record is not None:
                spool, name, is_wanted = value
                record.place(None if spool is None else Path(spool), name, is_wanted=is_wanted)
            elif kind == END:
                has_said = True
                until_s = time.monotonic() + _DRAIN_S
                for one in passings:
                    one.drain(until_s)
                break
        if not has_said:
            # The training is gone, and its relay waits for what it has printed. What it has started may still print.
            if record is not None:
                until_s = time.monotonic() + _DRAIN_S
                for one in passings:
                    one.drain(until_s)
                record.leave()
            for _ in passings:
                left.acquire()
        if record is not None:
            record.end()
            record.is_over.wait()
        with contextlib.suppress(OSError):
            talk.say(DONE, record and record.problem)

    def _ended(self, key: Key, target: int, left: threading.Semaphore) -> None:
        with self._lock:
            self._open -= 1
            self._places.pop(key, None)
        os.close(target)
        left.release()


def _tell(talk: Talk, lines: list) -> None:  # type: ignore[type-arg]
    with contextlib.suppress(OSError):
        talk.tell(lines)


def _say_put(talk: Talk) -> None:
    with contextlib.suppress(OSError):
        talk.say(PUT)


def _nothing(data: bytes, time_unix_nano: int) -> None:
    """Nothing is recorded."""


def main(path: str) -> None:
    """Serve until nobody prints any more.

    Args:
        path: of the socket to listen at.
    """
    process = ConsoleProcess()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(_LOOK_S)
        process.take(socket.socket(fileno=os.dup(0)))
        while process.is_needed:
            with contextlib.suppress(TimeoutError):
                process.take(listener.accept()[0])
    with contextlib.suppress(OSError):
        Path(path).unlink()
        Path(path).parent.rmdir()


if __name__ == "__main__":
    main(sys.argv[1])
