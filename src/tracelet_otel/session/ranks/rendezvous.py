"""The rendezvous file of a run: the run's owner writes it, and other ranks on the same machine read it.

It holds the relay's address and token, so that neither is in an environment variable or on a command line.
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
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tracelet_otel._support.processes import is_alive, started
from tracelet_otel.errors import TraceletError

_SUFFIX: Final = ".run"
_NEW: Final = ".new"
"""Suffix of a file that is still being written."""
_NEW_S: Final = 60.0
"""A file that is still being written after this many seconds was left by a process that was killed."""


class RendezvousError(TraceletError):
    """The directory or the file for the rendezvous cannot be used."""


@dataclass(frozen=True)
class RunAddress:
    """What a rank has to know about its run, as the rendezvous file holds it."""

    run_id: str
    run_name: str
    project: str
    endpoint: str
    token: str
    host: str
    owner_pid: int
    owner_started: str
    """What `processes.started` gives for the owner, since a pid may be used again."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the run as `settings.to_plain` gives them, without secrets."""
    code: Mapping[str, Any] = field(default_factory=dict)
    """Resource attributes that say which code runs."""

    @property
    def is_on(self) -> bool:
        """Whether the run's owner is on this machine and still runs."""
        return self.host == platform.node() and is_alive(self.owner_pid, self.owner_started)


@dataclass(frozen=True)
class SpawnContext:
    """What a process that is started as a rank finds in its environment. It holds no secret."""

    job: str
    """Names the rendezvous files of all runs of the process that starts the rank."""
    run_number: int
    """Number of the run among those of that process, from 1. The rank runs the same script, and counts them too."""
    training: int
    """Number of the training that starts the rank, among those of the run; 0 before the first."""

    def text(self) -> str:
        """The value as one line of text."""
        return f"{self.job}.{self.run_number}.{self.training}"

    @classmethod
    def from_text(cls, text: str) -> SpawnContext | None:
        """Read a value from its line; None where the line has another form."""
        job, *numbers = text.split(".")
        if not job.isalnum() or [number.isdigit() for number in numbers] != [True, True]:
            return None
        return cls(job, int(numbers[0]), int(numbers[1]))


class Rendezvous:
    """The rendezvous file of one run.

    Args:
        job: a name that all ranks of the job know and no other job has: letters and digits.
        run_number: number of the run in each of its processes, from 1.
        directory: directory of the file; by default one for this user among the machine's temporary files.
    """

    def __init__(self, job: str, run_number: int, directory: Path | None = None) -> None:
        self._given = directory
        self._job = job
        self.run_number = run_number
        """Number of the run, from 1."""
        self._name = f"{job}.{run_number}{_SUFFIX}"

    @property
    def path(self) -> Path:
        """Path of the file.

        Raises:
            RendezvousError: there is no directory for it.
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
        """Whether the file exists. It may be gone since temporary files are cleaned."""
        try:
            return self.path.exists()
        except (OSError, RendezvousError):
            return False

    def publish(self, run_address: RunAddress) -> bool:
        """Write the file. The file of an owner that does not run any more is replaced.

        Args:
            run_address: its content.

        Returns:
            False where another process that still runs has written the file; then it is left unchanged.

        Raises:
            RendezvousError: the directory or file cannot be written, or other users have access to it.
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
        """Read the file; None where there is none, it is malformed, or the owner does not run any more.

        Raises:
            RendezvousError: the file cannot be read, or other users have access to it.
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

    def later(self) -> Iterator[Rendezvous]:
        """Those of the runs that the same process has begun after this one, the oldest first."""
        with contextlib.suppress(OSError, RendezvousError):
            files = self._directory.glob(f"{self._job}.*{_SUFFIX}")
            numbers = [path.name.removesuffix(_SUFFIX).rpartition(".")[2] for path in files]
            for number in sorted(int(one) for one in numbers if one.isdigit()):
                if number > self.run_number:
                    yield Rendezvous(self._job, number, self._given)

    def withdraw(self) -> None:
        """Delete the file, if this process has written it."""
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
        # In one step, so that a process that reads it at this moment finds the old or the new file.
        written.replace(self.path)
        return True

    def _make_directory(self) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._check(self._directory.lstat())

    def _check(self, status: os.stat_result) -> None:
        # All users may write to the directory for temporary files, so another user may have created this one first.
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


def published() -> list[RunAddress]:
    """Addresses of all runs that processes of this user have on this machine now, as their files have them."""
    try:
        directory = Rendezvous("any", 1).path.parent
        names = sorted(path.name for path in directory.glob(f"*{_SUFFIX}"))
    except (OSError, RendezvousError):
        return []
    found = []
    for name in names:
        job, _, number = name.removesuffix(_SUFFIX).rpartition(".")
        with contextlib.suppress(RendezvousError, ValueError):
            run_address = Rendezvous(job, int(number)).read()
            if run_address is not None:
                found.append(run_address)
    return found


def address_from_this_process(
    run_id: str,
    run_name: str,
    project: str,
    endpoint: str,
    token: str,
    settings: Mapping[str, Any] | None = None,
    code: Mapping[str, Any] | None = None,
) -> RunAddress:
    """Make the address of a run that this process owns."""
    pid, host = os.getpid(), platform.node()
    return RunAddress(
        run_id, run_name, project, endpoint, token, host, pid, started(pid), dict(settings or {}), dict(code or {})
    )
