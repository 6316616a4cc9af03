"""What a relay reports of processes that are gone is in its journal, and the first report stands."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.waiting import wait_until
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.processes import is_alive, started
from tracelet_otel.protocol.decode import Batch, Param, Report
from tracelet_otel.protocol.failure import Failure
from tracelet_otel.protocol.fault_files import fault_file
from tracelet_otel.protocol.report_kinds import TAGS
from tracelet_otel.relay.deaths import Deaths, owner_as_plain, sweep
from tracelet_otel.relay.ends import Ends
from tracelet_otel.relay.journal import Journal
from tracelet_otel.relay.parts import RequestPart
from tracelet_otel.relay.run import RelayedRun
from tracelet_otel.settings import Settings

STACK = "Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n  a\n"


class Sleeper:
    """A process that ends when it is told to."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        self.pid = self.process.pid
        self.start = started(self.pid)

    def batch(self, rank: int | None, outcome: str = "running", **more) -> Batch:
        resource = {semconv.HOST_NAME: platform.node(), semconv.PROCESS_PID: self.pid}
        if rank is not None:
            resource[semconv.RANK] = rank
        return Batch(resource, (), more.pop("reports", ()), outcome, ended=None if rank else False, **more)

    def end(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; its parent asks for it only when it is closed."""
        self.process.send_signal(number)
        wait_until(lambda: not is_alive(self.pid, self.start), 30, "its end")

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def sleepers() -> Iterator[Callable[[], Sleeper]]:
    made: list[Sleeper] = []

    def make() -> Sleeper:
        made.append(Sleeper())
        return made[-1]

    yield make
    for one in made:
        one.close()


class Told:
    """A relay's view of a run, without trackers."""

    def __init__(self, directory: Path, owner: Sleeper, *, watches: bool = True) -> None:
        self.journal = Journal(directory / "run.journal")
        if "owner" not in self.journal.state:
            self.journal.remember({"owner": owner_as_plain(owner.pid, owner.start)})
        self.run = RelayedRun(self.journal, Guard(), Settings())
        self.deaths = Deaths(directory, self.journal.state, Ends() if watches else None)

    def hear(self, *batches: Batch) -> None:
        self.deaths.hear(batches)
        assert self.run.accept([RequestPart((), tuple(batches))]) == [None]

    def tell(self) -> tuple[dict[str, str], str | None]:
        """All tags of the run, and its outcome."""
        self.deaths.tell(self.run, self.journal.state)
        return self.tags, self.run._members.outcome

    @property
    def tags(self) -> dict[str, str]:
        return {report.name: report.param.text for report in self.run.known.reports[TAGS].all}

    def end(self) -> None:
        self.journal.close()


def test_nothing_is_told_of_an_owner_that_lives(tmp_path, sleepers):
    told = Told(tmp_path, owner := sleepers())
    told.hear(owner.batch(None))
    assert told.tell() == ({}, "running")
    told.end()


def test_a_later_relay_knows_what_an_earlier_one_found(tmp_path, sleepers):
    owner = sleepers()
    told = Told(tmp_path, owner)
    note = Report(TAGS, semconv.NOTE, Param("of mine"))
    told.hear(owner.batch(None, reports=(note,)))
    owner.end(signal.SIGTERM)
    tags, outcome = told.tell()
    assert outcome == "running"
    assert tags == {
        "tracelet.exception.type": "SIGTERM",
        "tracelet.exception.message": "killed by SIGTERM",
        "tracelet.exception.stacktrace": "",
        semconv.NOTE: "of mine\n\nkilled by SIGTERM",
    }
    assert told.tell() == (tags, outcome)
    told.end()
    # Nothing is left of the process by now.
    owner.close()
    later = Told(tmp_path, owner, watches=False)
    assert later.tags == tags
    assert later.tell() == (tags, outcome)
    later.end()


def test_a_crash_makes_the_run_fail_and_its_stack_is_deleted_once_it_is_in_the_journal(tmp_path, sleepers):
    owner = sleepers()
    told = Told(tmp_path, owner)
    told.hear(owner.batch(None, "finished"))
    file = fault_file(tmp_path, owner.pid, owner.start)
    file.write_text(STACK)
    owner.end(signal.SIGSEGV)
    tags, outcome = told.tell()
    assert (outcome, tags["tracelet.exception.stacktrace"]) == ("failed", STACK.strip())
    assert not file.exists()
    told.end()
    assert Told(tmp_path, owner).run._members.outcome == "failed"


def test_a_training_that_went_well_before_its_process_was_killed_is_not_told_to_have_failed(tmp_path, sleepers):
    owner = sleepers()
    told = Told(tmp_path, owner)
    told.hear(owner.batch(None, "finished"))
    owner.end()
    assert told.tell() == ({}, "finished")
    told.end()


def test_the_rank_that_was_gone_first_is_the_cause(tmp_path, sleepers):
    owner, one, another = sleepers(), sleepers(), sleepers()
    told = Told(tmp_path, owner)
    told.hear(owner.batch(0), one.batch(1), another.batch(2))
    another.end(signal.SIGTERM)
    wait_until(lambda: told.deaths._ends._ended == 1, 30, "that the relay sees it")
    one.end()
    wait_until(lambda: told.deaths._ends._ended == 2, 30, "that the relay sees it")
    owner.end()
    tags, outcome = told.tell()
    assert (tags["tracelet.exception.message"], outcome) == ("rank 2: killed by SIGTERM", "running")
    told.end()


def test_a_rank_that_has_failed_or_left_in_order_is_no_death(tmp_path, sleepers):
    owner, one = sleepers(), sleepers()
    told = Told(tmp_path, owner)
    told.hear(owner.batch(0), one.batch(1))
    told.hear(one.batch(1, "failed", left=True))
    one.end()
    owner.end()
    tags, outcome = told.tell()
    message = "killed by SIGKILL, after rank 1 had failed"
    assert (tags["tracelet.exception.message"], outcome) == (message, "failed")
    told.end()


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (
            signal.SIGSEGV,
            "rank 1: killed by SIGSEGV (segmentation fault), and the run has failed with RuntimeError: no answer",
        ),
        # A launcher kills the others where one has failed.
        (signal.SIGTERM, "no answer"),
    ],
)
def test_an_owner_that_fails_for_want_of_a_rank_that_crashed(tmp_path, sleepers, number, message):
    owner, one = sleepers(), sleepers()
    told = Told(tmp_path, owner)
    told.hear(owner.batch(0), one.batch(1))
    one.end(number)
    tags = Failure("RuntimeError", "no answer", "Traceback").tags
    reports = tuple(Report(TAGS, name, Param(text)) for name, text in tags.items())
    told.hear(replace(owner.batch(0, "failed", reports=reports), ended=True))
    tags, outcome = told.tell()
    assert (tags["tracelet.exception.message"], outcome) == (message, "failed")
    told.end()


def test_a_rank_that_crashed_while_no_relay_was_there(tmp_path, sleepers):
    owner, one = sleepers(), sleepers()
    told = Told(tmp_path, owner)
    told.hear(owner.batch(0), one.batch(1))
    told.end()
    fault_file(tmp_path, one.pid, one.start).write_text(STACK)
    for process in (one, owner):
        process.close()
    later = Told(tmp_path, owner, watches=False)
    tags, outcome = later.tell()
    assert outcome == "failed"
    assert tags["tracelet.exception.message"] == "rank 1: killed by SIGSEGV (segmentation fault)"
    assert sorted(path.name for path in tmp_path.glob("*.fault")) == []
    later.end()


@pytest.mark.parametrize(("is_old", "means"), [(False, "probably out of memory: "), (True, "before that, ")])
def test_another_process_may_have_been_killed_for_memory(tmp_path, sleepers, is_old, means):
    owner = sleepers()
    events = tmp_path / "memory.events"
    events.write_text("oom_kill 1\n")
    told = Told(tmp_path, owner)
    plain = {**told.journal.state["owner"], "kills": {"path": str(events), "count": 1}}
    told.deaths = Deaths(tmp_path, {"owner": plain}, Ends())
    told.hear(owner.batch(None))
    events.write_text("oom_kill 2\n")
    if is_old:
        # As many looks at the count as its process has outlived.
        for one in told.deaths._all * 2:
            one.sample()
    owner.end()
    tags, _ = told.tell()
    rise = f"oom_kill in {events} rose from 1 to 2"
    message = f"killed by SIGKILL; {means}a process of this container was killed for memory ({rise})"
    assert tags["tracelet.exception.message"] == message
    told.end()


def test_files_of_processes_that_are_gone_and_have_left_nothing_are_deleted(tmp_path, sleepers):
    gone = sleepers()
    gone.close()
    empty = fault_file(tmp_path, gone.pid, gone.start)
    full = fault_file(tmp_path, gone.pid, f"{gone.start}0")
    own = fault_file(tmp_path, os.getpid(), started(os.getpid()))
    other = tmp_path / "other.fault"
    for path in (empty, full, own, other):
        path.write_text("" if path != full else STACK)
    sweep(tmp_path)
    assert {*tmp_path.iterdir()} == {full, own, other}
