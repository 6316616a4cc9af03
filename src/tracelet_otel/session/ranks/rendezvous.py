"""Where the ranks of a run that share a machine meet: a file that its owner writes and they read.

It holds the relay's address and token, so that neither stands in an environment or command line.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import stat
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tracelet_otel._support.processes import is_alive, started
from tracelet_otel.errors import TraceletError

_SUFFIX: Final = ".run"
_NEW: Final = ".new"
_NEW_S: Final = 60.0
"""What is being written for so long was left by a process that was killed."""


class RendezvousError(TraceletError):
    """The place where ranks meet cannot be used."""


@dataclass(frozen=True)
class RunAddress:
    """What a rank needs to know of its run."""

    run_id: str
    run_name: str
    project: str
    endpoint: str
    token: str
    host: str
    owner_pid: int
    owner_started: str
    """As `owner.started` gives it."""

    @property
    def is_on(self) -> bool:
        """Whether its owner is on this machine and lives."""
        return self.host == platform.node() and is_alive(self.owner_pid, self.owner_started)


@dataclass(frozen=True)
class SpawnContext:
    """What a process that is started as a rank is told in its environment; no secret."""

    job: str
    """Names the files of all runs of the process that starts it."""
    run_number: int
    """How many runs that process has started: the rank, which runs the same script, counts them too."""
    training: int
    """In which of the run's trainings the rank is started."""

    def text(self) -> str:
        """This in one line."""
        return f"{self.job}.{self.run_number}.{self.training}"

    @classmethod
    def from_text(cls, text: str) -> SpawnContext | None:
        """What a line says; None where it is not one of ours."""
        job, *numbers = text.split(".")
        if not job.isalnum() or [number.isdigit() for number in numbers] != [True, True]:
            return None
        return cls(job, int(numbers[0]), int(numbers[1]))


class Rendezvous:
    """The place of one run.

    Args:
        job: what its ranks have in common: letters and digits.
        run_number: the run's number in each of its processes, from 1.
        directory: where the files are; by default a place of this user's on this machine.
    """

    def __init__(self, job: str, run_number: int, directory: Path | None = None) -> None:
        self._given = directory
        self._name = f"{job}.{run_number}{_SUFFIX}"

    @property
    def path(self) -> Path:
        """The file.

        Raises:
            RendezvousError: there is no place for it.
        """
        return self._directory / self._name

    @property
    def _directory(self) -> Path:
        if self._given is not None:
            return self._given
        if not hasattr(os, "getuid"):
            raise RendezvousError(f"ranks cannot meet on {sys.platform}, which does not tell users apart by number")
        try:
            return Path(tempfile.gettempdir()) / f"tracelet-otel-{os.getuid()}"
        except OSError as error:
            raise RendezvousError(f"ranks cannot meet: {error}") from error

    @property
    def is_there(self) -> bool:
        """Whether the file is there: somebody may clean the directory."""
        try:
            return self.path.exists()
        except (OSError, RendezvousError):
            return False

    def publish(self, run_address: RunAddress) -> bool:
        """Tell the ranks; what an owner that is gone has left is replaced.

        Returns:
            Whether it was done: not where another owner, that lives, has the place.

        Raises:
            RendezvousError: the directory or file cannot be written, or others could read it.
        """
        try:
            self._make_directory()
            self._sweep()
            written = self.path.with_name(f"{uuid.uuid4().hex}{_NEW}")
            with os.fdopen(os.open(written, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                json.dump(asdict(run_address), file)
            try:
                return self._place(written, run_address)
            finally:
                written.unlink(missing_ok=True)
        except OSError as error:
            raise RendezvousError(f"ranks cannot meet in {self._directory}: {error}") from error

    def read(self) -> RunAddress | None:
        """What the owner has told; None where there is nothing, or nothing that can be trusted.

        Raises:
            RendezvousError: it cannot be read just now, or never.
        """
        try:
            with self.path.open() as file:
                self._check(os.fstat(file.fileno()))
                run_address = RunAddress(**json.load(file))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return None
        except OSError as error:
            raise RendezvousError(f"{self.path} cannot be read: {error}") from error
        return run_address if run_address.is_on else None

    def withdraw(self) -> None:
        """The run is over; the file goes, where it is this process's."""
        with contextlib.suppress(RendezvousError):
            run_address = self.read()
            if run_address is not None and run_address.owner_pid == os.getpid():
                self.path.unlink(missing_ok=True)

    def _place(self, written: Path, run_address: RunAddress) -> bool:
        with contextlib.suppress(FileExistsError):
            os.link(written, self.path)
            return True
        there = self.read()
        if there is not None and there.owner_pid != run_address.owner_pid:
            return False
        # In one step: who reads it meanwhile must not find nothing.
        written.replace(self.path)
        return True

    def _make_directory(self) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._check(self._directory.lstat())

    def _check(self, status: os.stat_result) -> None:
        # In a directory that all may write to, another user may have been there first.
        if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077 or stat.S_ISLNK(status.st_mode):
            raise RendezvousError(f"ranks cannot meet in {self._directory}: others than this user have access to it")

    def _sweep(self) -> None:
        for path in self._left_behind():
            path.unlink(missing_ok=True)
        for path in self._directory.glob(f"*{_NEW}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _NEW_S:
                    path.unlink()

    def _left_behind(self) -> Iterator[Path]:
        for path in self._directory.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(OSError, ValueError, TypeError):
                run_address = RunAddress(**json.loads(path.read_text()))
                if run_address.host == platform.node() and not run_address.is_on:
                    yield path


def address_from_this_process(run_id: str, run_name: str, project: str, endpoint: str, token: str) -> RunAddress:
    """What this process, as a run's owner, has to tell its ranks."""
    pid = os.getpid()
    return RunAddress(run_id, run_name, project, endpoint, token, platform.node(), pid, started(pid))
