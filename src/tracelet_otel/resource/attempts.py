"""The attempts of a run: the starts of its script for one job.

The run's id needs nothing but the environment (`same_job`). What an attempt leaves for the next one is in a small file
in the directory of the journals. Where that is another directory, the number is what the launcher says, and what was
lost is not known.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tracelet_otel import semconv
from tracelet_otel._support.environment import is_recorded_elsewhere
from tracelet_otel._support.file_lock import file_lock
from tracelet_otel._support.guard import Guard, log
from tracelet_otel._support.processes import is_alive, started
from tracelet_otel.resource.same_job import SameJob, job_of_process

if TYPE_CHECKING:
    from tracelet_otel.settings import Settings

SUFFIX: Final = ".attempt"
_NEW: Final = ".new"
_LOCK: Final = ".lock"
_OLD_S: Final = 90 * 86400.0
"""A file that nothing was written to for so long is deleted: no job waits so long for its next start."""


@dataclass(frozen=True)
class Attempt:
    """What is known of one attempt."""

    number: int
    """From 1."""
    run_name: str
    launch: str
    """`SameJob.launch` of this start."""
    agent: str
    """`SameJob.agent` of this start."""
    host: str
    pid: int
    started: str
    """What `processes.started` gives for the process."""
    seen_s: float
    """When it was last known to be alive, in seconds since the epoch."""
    step: int | None = None
    """The last step of the last training that is known, of this attempt or else of those before; None for none."""
    trainings: int = 0
    """How many trainings that attempt has begun."""
    lost_steps: int | None = 0
    """Steps that were done again, in all attempts that have begun to train; None where that is not known of one."""
    downtime_s: float | None = 0.0
    """Seconds between attempts, up to this one; None where that is not known of one of them."""

    @property
    def is_running(self) -> bool:
        """Whether its process is on this machine and still runs."""
        return self.host == platform.node() and is_alive(self.pid, self.started)


@dataclass(frozen=True)
class Again:
    """The attempt that this process makes, at a run that has its id by the job."""

    run_id: str
    attempt: Attempt
    before: Attempt | None
    """The attempt before; None for the first, and where nothing is known of it."""
    path: Path
    """Where it is kept for the next attempt."""
    is_certain: bool = True
    """Whether the number is known: there may have been attempts on other machines."""

    @property
    def attributes(self) -> dict[str, int]:
        """Resource attributes of the process that owns the run."""
        return {semconv.RUN_ATTEMPT: self.attempt.number} if self.is_certain else {}

    def told(self, last: int | None) -> Again:
        """The same after trackers have told which attempt was the last one.

        Args:
            last: its number; 0 where the run is new, None where nobody knows.
        """
        if last is None:
            return self
        if last < self.attempt.number:
            return replace(self, is_certain=True)
        # Made elsewhere: nothing more is known of it.
        attempt = replace(self.attempt, number=last + 1, step=None, trainings=0, lost_steps=None, downtime_s=None)
        return replace(self, attempt=attempt, before=None, is_certain=True)

    def keep(self, attempt: Attempt) -> None:
        """Write down what is known of this attempt, in one step.

        Raises:
            OSError: it cannot be written.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self.path.with_name(f"{self.path.name}{_NEW}")
        with os.fdopen(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(attempt), file)
        new.replace(self.path)

    def withdraw(self) -> None:
        """Leave what was there before: this attempt could not begin.

        Raises:
            OSError: it cannot be written.
        """
        if self.before is None:
            self.path.unlink(missing_ok=True)
        else:
            self.keep(self.before)


def job_of(settings: Settings, environment: Mapping[str, str]) -> SameJob | None:
    """The job that this process runs for, where its run is to go on at the next start; None where it is not."""
    if not settings.goes_on or is_recorded_elsewhere():
        # A process that a recorded script starts is part of what that script does, and no other attempt.
        return None
    return job_of_process(environment, settings.run_key)


def run_id_of_job(settings: Settings, environment: Mapping[str, str], number: int) -> str | None:
    """The id that a run has by its job; None where it has none.

    Args:
        settings: settings of the run.
        environment: environment variables of this process.
        number: number of the run among those of this process, from 1.
    """
    job = job_of(settings, environment)
    return None if job is None else job.run_id(_project(settings), number)


def begun(settings: Settings, environment: Mapping[str, str], number: int, run_name: str, guard: Guard) -> Again | None:
    """Determine which attempt this process makes, and at which run, and write it down: nobody else makes it now.

    Args:
        settings: settings of the run.
        environment: environment variables of this process.
        number: number of the run among those of this process, from 1.
        run_name: name of the run, where neither settings nor an attempt before have one.
        guard: where errors are reported.

    Returns:
        None where this is a run of its own.
    """
    job = job_of(settings, environment)
    if job is None:
        if settings.goes_on and not is_recorded_elsewhere():
            log.warning(
                "resume: nothing says which job this script runs for, so it begins a run of its own: name the job in "
                "TRACELET_RUN_KEY"
            )
        return None
    run_id = job.run_id(_project(settings), number)
    path = settings.journal_dir / f"{run_id}{SUFFIX}"
    _sweep(path)
    before = None
    with contextlib.ExitStack() as alone:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # The job may be started twice at the same time: the second one has to see the first.
            alone.enter_context(file_lock(path.with_name(f"{path.name}{_LOCK}")))
        except OSError as error:
            guard.report("another start for this job at the same time is not seen", error)
        try:
            before = _read(path)
        except OSError as error:
            guard.report("what an earlier attempt has left is not known", error)
        if before is not None and not _goes_on(before, job):
            return None
        name = settings.exp_name or ("" if before is None else before.run_name) or run_name
        attempt = _next(before, job, name)
        made = Again(run_id, attempt, before, path, before is not None or job.restarts is not None)
        try:
            made.keep(attempt)
        except OSError as error:
            guard.report("the next attempt will not know of this one", error)
    return made


def _goes_on(before: Attempt, job: SameJob) -> bool:
    """Whether this start goes on with the run of an attempt; says why where it does not."""
    if before.is_running:
        log.warning(
            "resume: process %d records the run of this job already, so this is a run of its own: give it a "
            "TRACELET_RUN_KEY of its own, if it is another job",
            before.pid,
        )
        return False
    if not job.goes_on_after(before.launch, before.agent):
        log.warning(
            "resume: this job has run the same command before, without being started again by its launcher, so this "
            "is a run of its own: name it in TRACELET_RUN_KEY, if it is another attempt of that"
        )
        return False
    return True


def _next(before: Attempt | None, job: SameJob, run_name: str) -> Attempt:
    now_s = time.time()
    fewest = 1 + (job.restarts or 0)
    number = max(fewest, 1 if before is None else before.number + 1)
    is_first = number == 1
    # An attempt in between may have left nothing.
    follows = before is not None and before.number + 1 == number
    downtime_s = 0.0 if is_first else None
    if before is not None and follows and before.downtime_s is not None:
        downtime_s = before.downtime_s + max(now_s - before.seen_s, 0)
    return Attempt(
        number,
        run_name,
        job.launch,
        job.agent,
        platform.node(),
        os.getpid(),
        started(os.getpid()),
        now_s,
        step=before.step if before is not None and follows else None,
        trainings=before.trainings if before is not None and follows else 0,
        lost_steps=before.lost_steps if before is not None and follows else (0 if is_first else None),
        downtime_s=downtime_s,
    )


def _project(settings: Settings) -> str:
    return settings.project if "project" in settings.model_fields_set else ""


def _read(path: Path) -> Attempt | None:
    try:
        known: dict[str, Any] = json.loads(path.read_text())
        return Attempt(**known)
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        # Where it was written by another version, nothing is known.
        return None


def _sweep(own: Path) -> None:
    for path in own.parent.glob(f"*{SUFFIX}"):
        # It may be deleted by another process, or be another user's.
        with contextlib.suppress(OSError):
            if path != own and time.time() - path.stat().st_mtime > _OLD_S:
                path.unlink()
