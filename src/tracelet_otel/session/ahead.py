"""Processes of relays that are started before anybody knows what they will have to do.

Such a process imports the clients of trackers, which takes most of the time of a start. Meanwhile this process imports
and finds out what belongs into the relay's order. `prepare_logging` does so long before the run begins.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tracelet_otel._support.child_environment import child_environment
from tracelet_otel._support.environment import environment
from tracelet_otel._support.forks import ProcessLock
from tracelet_otel._support.guard import log
from tracelet_otel._support.spawned import is_running_main_again
from tracelet_otel.errors import ConfigurationError, TrackerError
from tracelet_otel.exporters.registry import delivering_environment, options_of, spec_of
from tracelet_otel.resource.rank_info import rank_info_of
from tracelet_otel.settings import Settings

_PYTHONS: Final = "PYTHON"
"""Beginning of the names of variables that Python reads when it starts."""


@dataclass(frozen=True)
class Needs:
    """What the process of a relay has from its start on."""

    modules: tuple[str, ...]
    """Names of the modules that it imports before it reads its order."""
    directory: Path
    """Its working directory."""
    journals: Path
    """Where journals and logs are kept."""
    environment: Mapping[str, str]
    trackers: tuple[str, ...]
    """Names of the trackers for which it is."""

    @classmethod
    def of(cls, settings: Settings) -> Needs:
        """What the relay of a run needs.

        Args:
            settings: settings of the run, as `registry.absolute` returns them.
        """
        clients = [(spec_of(name).tracker, options_of(name, settings).client_modules) for name in settings.trackers]
        return cls(
            tuple(one for tracker, modules in clients for one in (tracker.partition(":")[0], *modules)),
            Path.cwd(),
            settings.journal_dir,
            child_environment(environment(), sys.path, *delivering_environment()),
            settings.trackers,
        )

    def fit(self, other: Needs) -> bool:
        """Whether a process that was started with these is as one that is started with others.

        Modules may have read variables that begin with a tracker's name. The order brings all others.
        """
        return self._fixed == other._fixed

    @property
    def _fixed(self) -> tuple[object, ...]:
        beginnings = (_PYTHONS, *(f"{name.upper()}_" for name in self.trackers))
        read = {name: value for name, value in self.environment.items() if name.startswith(beginnings)}
        return self.modules, self.directory, self.journals, self.trackers, read


class WaitingRelay:
    """The process of a relay, which imports modules and waits for its order. It is in a session of its own.

    It ends as soon as this process closes its end of a pipe, or is gone.

    Args:
        needs: what it has from its start on.

    Raises:
        ConfigurationError: nothing can be kept in the directory of journals.
        TrackerError: it could not be started.
    """

    def __init__(self, needs: Needs) -> None:
        self.needs: Final = needs
        try:
            needs.journals.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._printed = tempfile.TemporaryFile(dir=needs.journals)  # noqa: SIM115  # it lives as long as this
        except OSError as error:
            raise ConfigurationError(
                f"nothing can be kept in {needs.journals} ({error}): set TRACELET_JOURNAL_DIR to a directory that can "
                f"be written"
            ) from error
        try:
            self.process: Final = subprocess.Popen(  # noqa: S603  # this interpreter, and modules of ours and of clients
                [sys.executable, "-m", "tracelet_otel.relay", *needs.modules],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._printed,
                bufsize=0,
                cwd=needs.directory if needs.directory.is_dir() else None,
                env=dict(needs.environment),
                start_new_session=True,
            )
        except OSError as error:
            self._printed.close()
            raise TrackerError(f"the relay could not be started: {error}") from error
        assert self.process.stdin is not None  # noqa: S101
        assert self.process.stdout is not None  # noqa: S101
        self.orders: Final[IO[bytes]] = self.process.stdin
        """Takes the order, and is kept open as long as the relay is needed."""
        self.answers: Final[IO[bytes]] = self.process.stdout
        """Gives the answer to the order."""
        _started.add(self)

    def keep_printed(self, path: Path) -> None:
        """Add to the relay's log what the process has printed before it had its order. It writes the rest itself."""
        with self._printed as printed, contextlib.suppress(OSError):
            printed.seek(0)
            if text := printed.read():
                kept = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
                os.write(kept, text)
                os.close(kept)

    def close_pipe(self) -> None:
        """Let the relay know that it is not needed any more."""
        if not self.orders.closed:
            self.orders.close()

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait()
        self.close_pipe()
        self.answers.close()
        self._printed.close()


_started: Final[weakref.WeakSet[WaitingRelay]] = weakref.WeakSet()
"""All relays that this process has started."""
_waiting: Final[list[WaitingRelay]] = []
"""Those that nobody has taken yet."""
_changing: Final = ProcessLock()


def prepare(settings: Settings) -> None:
    """Start the process of a relay, if a run of this process would need one and none waits that fits.

    Args:
        settings: settings of the run, as `registry.absolute` returns them.

    Raises:
        TraceletError: it could not be started.
    """
    rank = rank_info_of(environment())
    starts_one = settings.relay and settings.relay_endpoint is None and bool(settings.trackers)
    if not starts_one or is_running_main_again() or (rank is not None and not rank.is_first):
        return
    needs = Needs.of(settings)
    with _changing:
        if not any(one.needs.fit(needs) for one in _waiting):
            _waiting.append(WaitingRelay(needs))


def take(needs: Needs) -> WaitingRelay:
    """The process that waits and fits, or else a new one.

    Raises:
        TraceletError: it could not be started.
    """
    with _changing:
        for one in [one for one in _waiting if one.needs.fit(needs)]:
            _waiting.remove(one)
            if one.process.poll() is None:
                return one
            one.kill()
        if _waiting:
            log.info("the relay that was prepared has another environment, or is for other backends: it is not used")
    return WaitingRelay(needs)


def discard() -> None:
    """End all processes that nobody has taken."""
    with _changing:
        while _waiting:
            _waiting.pop().kill()


@contextlib.contextmanager
def prepared(settings: Settings) -> Iterator[None]:
    """Have a relay prepared while a run begins. One that the run has not taken is ended.

    Raises:
        TraceletError: it could not be started.
    """
    try:
        prepare(settings)
        yield
    finally:
        discard()


def _let_go_in_child() -> None:
    # If a forked child kept the pipe open, the relay would not notice the owner's end. What waits is no process of the
    # child's, so it finds it ended and never takes it.
    for one in _started:
        one.close_pipe()


# Otherwise the interpreter would free the object of a process that still runs, and warn of that.
atexit.register(discard)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
