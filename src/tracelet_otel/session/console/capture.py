"""What this process prints is recorded, by a process of ours through which it goes.

Another process reads it, and not a thread of this one: code that holds the interpreter's lock while it prints would
wait for such a thread for ever, and what is in a pipe when a training is killed would be lost, also for its user.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final

from tracelet_otel._support.environment import console_process, secrets
from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.registry import run_to_continue
from tracelet_otel.protocol.console import ConsoleLine, file_name
from tracelet_otel.protocol.console_calls import DONE, END, LINES, PLACE, PUT, READY, Registration, Talk
from tracelet_otel.protocol.events import Event, event_of_line
from tracelet_otel.session.console.descriptors import PrintedTo, flush, places
from tracelet_otel.session.console.launch import LaunchedConsole
from tracelet_otel.session.console.rest import pass_on
from tracelet_otel.session.role import Role, Silent
from tracelet_otel.settings import Settings

_START_S: Final = 10.0
_END_S: Final = 5.0
"""So long the end of a run waits for the process."""
_LOOK_S: Final = 0.5
"""Time between two looks whether the run is found."""
_NOT_RECORDED: Final = "the console is not recorded"
ALL: Final = "all"
"""Value of the setting for the consoles of all ranks."""

_active: Final[weakref.WeakSet[ConsoleCapture]] = weakref.WeakSet()


class ConsoleCapture:
    """What this process prints, from `start` to `close`. Nothing raises; in a forked child it does nothing.

    Args:
        role: role of this process in the run, which may not be open yet.
        is_of_all: whether each rank is recorded, and not only rank 0. What a rank prints that is not recorded is only
            kept apart from what the process prints that has started it.
        tell: is called with lines; None where nobody wants to know them.
        part: tells this part of a run from those before it; empty for the first one.
        on_put: is called when there are new entries in the spool.
        guard: where errors are reported.
    """

    def __init__(
        self,
        role: Role,
        *,
        is_of_all: bool,
        tell: Callable[[list[ConsoleLine]], None] | None,
        part: str,
        on_put: Callable[[], object],
        guard: Guard,
    ) -> None:
        self._role = role
        self._is_of_all = is_of_all
        # A copy of another process does not know its rank yet.
        self._records = is_of_all or role.owns_run or not role.membership.rank
        self._tell = tell
        self._part = part
        self._on_put = on_put
        self._guard = guard
        self._pid = os.getpid()
        self._places: list[PrintedTo] = []
        self._talk: Talk | None = None
        self._launched: LaunchedConsole | None = None
        self._sending = threading.RLock()
        """Held while something is said: at its end, a run says where lines go and that it ends, in this order."""
        self._is_placed = False
        self._closing = False
        self._is_done = threading.Event()

    def start(self) -> None:
        """Begin. When this returns, all that is printed goes through the console process."""
        if sys.platform == "win32":
            self._guard.report(_NOT_RECORDED, "there is no console process on Windows")
            return
        try:
            self._places = places()
            if self._places and self._connect():
                # Before anything is printed: a training may die at any time.
                self._say_place()
                flush()
                for one in self._places:
                    one.replace()
                threading.Thread(target=self._listen, name="tracelet-console", daemon=True).start()
                _active.add(self)
            else:
                self._give_up()
        except Exception as error:
            self._guard.report(_NOT_RECORDED, error)
            self._give_up()

    def close(self) -> None:
        """Put the descriptors back, and wait until all that was printed is passed on and recorded."""
        if os.getpid() != self._pid or self._talk is None or self._closing:
            return
        self._closing = True
        _active.discard(self)
        flush()
        for one in self._places:
            one.put_back()
        if self._launched is not None:
            self._launched.hide()
        self._say_place(at_end=True)
        self._say(END)
        if not self._is_done.wait(_END_S):
            self._guard.report("the end of the console may not be recorded", f"not done within {_END_S:g} s")

    def leave_to_parent(self) -> None:
        """Close in a forked child what is its parent's."""
        if self._talk is not None:
            self._talk.close()
        for one in self._places:
            one.close()
        self._talk, self._places = None, []

    def _connect(self) -> bool:
        """Register with the console process of who has started this process, or else with one of our own."""
        keys, streams = [one.key for one in self._places], [one.stream for one in self._places]
        registration = Registration(
            streams, keys, [one.before for one in self._places], self._records, self._tell is not None, secrets()
        )
        sources = [one.source for one in self._places]
        path = console_process()
        if path is not None and self._register(path, registration, sources):
            return True
        if not self._records:
            # Nothing of this process goes through a console process.
            return False
        own = Registration(streams, keys, (), self._records, self._tell is not None, registration.secrets)
        self._launched = LaunchedConsole()
        if self._register(self._launched.connection, own, [*sources, *(one.target for one in self._places)]):
            return True
        raise TimeoutError("its process did not begin in time")

    def _register(self, to: str | socket.socket, registration: Registration, descriptors: Sequence[int]) -> bool:
        """Register at a path, or with a process that is connected; returns whether this is accepted."""
        connection = socket.socket(socket.AF_UNIX) if isinstance(to, str) else to
        talk = Talk(connection)
        try:
            connection.settimeout(_START_S)
            if isinstance(to, str):
                connection.connect(to)
            talk.register(registration, descriptors)
            if next(talk.messages(), ("", None))[0] == READY:
                connection.settimeout(None)
                self._talk = talk
        except OSError:
            pass  # it is gone
        if self._talk is None:
            talk.close()
        return self._talk is not None

    def _give_up(self) -> None:
        for one in self._places:
            one.put_back()
            one.close()
        if self._talk is not None:
            self._talk.close()
        self._places, self._talk = [], None
        if self._launched is not None:
            self._launched.kill()

    def _listen(self) -> None:
        talk = self._talk
        assert talk is not None  # noqa: S101
        while not self._is_placed and not self._closing:
            self._say_place()
            if not self._is_placed and talk.is_readable(_LOOK_S):
                break
        for kind, value in talk.messages():
            if kind in (LINES, PUT):
                self._pass_on(kind, value)
            elif kind == DONE:
                if value:
                    self._guard.report(_NOT_RECORDED, value)
                self._is_done.set()
                break
        if not self._is_done.is_set():
            if not self._closing:
                self._guard.report("the console is not recorded any more", "its process has ended")
            pass_on(self._places, self._is_done.set)
        talk.close()
        for one in self._places:
            one.close()
        if self._launched is not None:
            self._launched.wait()

    def _pass_on(self, kind: str, value: Any) -> None:
        try:
            if kind == PUT:
                self._on_put()
            elif self._tell is not None:
                self._tell([ConsoleLine(*one) for one in value])
        except Exception as error:
            self._guard.report("lines of the console were not passed on", error)

    def _say_place(self, *, at_end: bool = False) -> None:
        """Say where lines go, once the run is found, and it is known which rank this is."""
        with self._sending:
            rank = 0 if self._role.owns_run else self._role.membership.rank
            if self._is_placed or not (at_end or (self._role.run_id and rank is not None)):
                return
            self._is_placed = True
            spool = self._role.spool if self._role.run_id else None
            is_wanted = self._is_of_all or not rank
            if spool is None and self._tell is None and self._records and is_wanted:
                self._guard.report(_NOT_RECORDED, "there is no relay that takes files")
            name = file_name(rank or 0, self._part)
            self._say(PLACE, [None if spool is None or not is_wanted else str(spool), name, is_wanted])

    def _say(self, kind: str, value: Any = None) -> None:
        with self._sending, contextlib.suppress(OSError):
            if self._talk is not None:
                self._talk.say(kind, value)


def console_of(
    settings: Settings,
    role: Role,
    guard: Guard,
    tell: Callable[[list[Event]], object],
    on_put: Callable[[], object],
) -> ConsoleCapture | None:
    """Begin to record what this process prints, as far as the settings ask for it.

    Args:
        settings: settings of the run.
        role: role of this process in the run, which may not be open yet.
        guard: where errors are reported.
        tell: is called with events that are lines, for a collector.
        on_put: is called when there are new entries in the spool.

    Returns:
        What records; None where nothing is recorded.
    """
    if not settings.console or isinstance(role, Silent):
        return None

    def tell_lines(lines: list[ConsoleLine]) -> None:
        tell([event_of_line(line) for line in lines])

    made = ConsoleCapture(
        role,
        is_of_all=settings.console == ALL,
        tell=tell_lines if settings.streams else None,
        # The file of a part before this one is not touched.
        part=time.strftime("%Y%m%d-%H%M%S") if run_to_continue(settings) or settings.goes_on else "",
        on_put=on_put,
        guard=guard,
    )
    made.start()
    return made


def _leave_to_parent() -> None:
    for one in list(_active):
        one.leave_to_parent()
    _active.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
