"""Processes that a training starts, each with a run of its own, through the relay of that training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tracelet_otel as tracelet
from tests.relay.simulated import Rank
from tests.support.clearml_files import session
from tests.support.mlflow_files import mlflow_files
from tests.support.mlflow_store import StoredRun, multiset, stored_runs
from tests.support.relays import ended_clean, relays
from tests.support.waiting import wait_until
from tests.support.wandb_files import offline_files, offline_run
from tests.support.warm import Child
from tracelet_otel import semconv
from tracelet_otel.protocol.files import FileKind, RunFile, put_entry
from tracelet_otel.session.calls import Address, HttpConnection

CONFIG = {"export_interval": 0.1, "start_timeout": 60}


def address_of(run: tracelet.Run) -> Address:
    return run._role.connection.address


def config(address: Address, **more: object) -> str:
    return json.dumps({"relay_endpoint": address.endpoint, "relay_token": address.token, **CONFIG, **more})


class Kid:
    """A process with a child run."""

    def __init__(
        self, start: Callable[..., Child], name: str, address: Address, parent: str, **environment: str
    ) -> None:
        named = {"OTEL_RESOURCE_ATTRIBUTES": f"{semconv.PARENT_RUN_ID}={parent}", **environment}
        self.process = start("child.py", name, config(address), stdin=subprocess.PIPE, **named)
        self.run_id = self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return str(line.strip())

    def do(self, *words: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        assert self._line() == words[0]

    def end(self, number: int = 0) -> None:
        if number:
            os.kill(self.process.pid, number)
        self.process.communicate(timeout=60)


@pytest.fixture
def kid(start: Callable[..., Child]) -> Iterator[Callable[..., Kid]]:
    made: list[Kid] = []

    def make(*arguments: object, **environment: str) -> Kid:
        made.append(Kid(start, *arguments, **environment))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


@pytest.fixture
def parent(database: Path) -> Iterator[tracelet.Run]:
    run = tracelet.start_logging("parent", config={**CONFIG, "group": "a group"})
    yield run
    run.stop()


def stored(database: Path) -> dict[str, StoredRun]:
    return {run.name: run for run in stored_runs(database)}


def rows(first: int, last: int) -> list[tuple[str, int, float]]:
    return [("loss", step, step / 3) for step in range(first, last)]


def wait_for_relay(directory: Path) -> None:
    wait_until(lambda: ended_clean(directory), 60, "the end of the relay, with nothing left")


def test_fifty_children_at_once(parent, run, database, tmp_path):
    parent.log_metric("own", 1.0, 1)
    named = {"OTEL_RESOURCE_ATTRIBUTES": f"{semconv.PARENT_RUN_ID}={parent.id}"}
    pool = run("pool.py", config(address_of(parent)), 50, 200, **named)
    assert pool.returncode == 0, pool.stderr
    parent.stop()
    found = stored(database)
    (own,) = [run for name, run in found.items() if name == "parent"]
    for number in range(50):
        child = found[f"child {number}"]
        assert child.multiset == multiset(("loss", step, number * 1000 + step / 7) for step in range(200))
        assert (child.status, child.tags["mlflow.parentRunId"]) == ("FINISHED", own.run_id)
    assert (own.multiset, len(found)) == (multiset([("own", 1, 1.0)]), 51)
    wait_for_relay(tmp_path)


def test_a_child_that_is_killed_is_closed_and_one_that_has_trained_is_finished(parent, kid, database):
    address = address_of(parent)
    killed, pooled = kid("killed", address, parent.id), kid("pooled", address, parent.id)
    for one in (killed, pooled):
        one.do("log", 50)
    pooled.do("trained")
    killed.end(signal.SIGKILL)
    pooled.end(signal.SIGTERM)
    wait_until(
        lambda: {stored(database)[name].status for name in ("killed", "pooled")} == {"KILLED", "FINISHED"}, 30, "ends"
    )
    found = stored(database)
    assert found["killed"].multiset == found["pooled"].multiset == multiset(rows(0, 50))
    assert found["killed"].tags["tracelet.exception.message"].startswith("killed by SIGKILL")
    assert "tracelet.exception.message" not in found["pooled"].tags
    assert (found["killed"].status, found["parent"].status) == ("KILLED", "RUNNING")
    assert parent.errors == {}


def test_what_goes_on_with_a_child_elsewhere_keeps_its_journal(parent, kid, tmp_path):
    """A later script may go on with the run of a child, with a relay of its own, while this one is remembered."""

    def journal_of_one_that_has_ended(name: str) -> Path:
        child = kid(name, address_of(parent), parent.id)
        (journal,) = tmp_path.rglob(f"{child.run_id}.journal")
        child.do("log", 10)
        child.do("stop")
        child.end()
        wait_until(lambda: not journal.exists(), 30, "the end of its journal")
        return journal

    journal = journal_of_one_that_has_ended("ended")
    journal.write_text("of another relay")
    # The relay looks after each run once a second.
    for number in range(2):
        journal_of_one_that_has_ended(f"later {number}")
    assert journal.read_text() == "of another relay"
    journal.unlink()


def test_a_relay_that_is_killed_and_started_again_goes_on_with_children(parent, kid, database, tmp_path):
    address = address_of(parent)
    kids = [kid(f"child {number}", address, parent.id) for number in range(3)]
    for one in kids:
        one.do("log", 100)
    (first,) = relays(tmp_path)
    first.kill()
    # It is dead by now, or was killed before.
    kids[2].end(signal.SIGKILL)
    parent.log_metric("own", 1.0, 1)
    wait_until(lambda: {one.pid for one in relays(tmp_path)} - {first.pid}, 60, "the next relay")
    assert address_of(parent) == address
    for one in kids[:2]:
        one.do("log", 100)
        one.do("stop")
        one.end()
    parent.stop()
    wait_for_relay(tmp_path)
    found = stored(database)
    assert [found[f"child {number}"].status for number in range(3)] == ["FINISHED", "FINISHED", "KILLED"]
    for number, last in enumerate((200, 200, 100)):
        assert found[f"child {number}"].multiset == multiset(rows(0, last))
        assert found[f"child {number}"].tags["mlflow.parentRunId"] == found["parent"].run_id


def test_a_parent_ends_at_once_and_its_relay_when_the_last_child_has_ended(parent, kid, database, tmp_path):
    address = address_of(parent)
    child = kid("child", address, parent.id)
    child.do("log", 10)
    parent.stop()
    assert stored(database)["parent"].status == "FINISHED"
    assert relays(tmp_path)
    grandchild = kid("grandchild", address, child.run_id)
    grandchild.do("log", 10)
    for one in (child, grandchild):
        one.do("log", 10)
        one.do("stop")
    wait_for_relay(tmp_path)
    found = stored(database)
    assert found["child"].multiset == found["grandchild"].multiset == multiset(rows(0, 20))
    assert found["child"].tags["mlflow.parentRunId"] == found["parent"].run_id
    assert found["grandchild"].tags["mlflow.parentRunId"] == found["child"].run_id
    assert found["grandchild"].tags["tracelet.run.group"] == "a group"
    assert {run.status for run in found.values()} == {"FINISHED"}


def test_children_of_a_parent_that_was_killed_go_on(start, kid, database, tmp_path):
    parent = start("parent.py", stdin=subprocess.PIPE)
    assert parent.stdout is not None
    address, run_id = Address(parent.stdout.readline().strip(), parent.stdout.readline().strip()), ""
    run_id = parent.stdout.readline().strip()
    child = kid("child", address, run_id)
    child.do("log", 20)
    parent.kill()
    parent.communicate()
    wait_until(lambda: stored(database)["parent"].status == "KILLED", 30, "the end of the parent's run")
    child.do("log", 20)
    child.do("stop")
    wait_for_relay(tmp_path)
    assert stored(database)["child"].multiset == multiset(rows(0, 40))
    assert stored(database)["child"].status == "FINISHED"


def test_the_next_relay_delivers_what_a_child_has_left(start, kid, database, tmp_path):
    parent = start("parent.py", stdin=subprocess.PIPE)
    assert parent.stdout is not None
    address = Address(parent.stdout.readline().strip(), parent.stdout.readline().strip())
    child = kid("child", address, parent.stdout.readline().strip())
    child.do("log", 20)
    (relay,) = relays(tmp_path)
    for process in (parent, relay):
        process.kill()
    parent.communicate()
    child.end(signal.SIGKILL)
    wait_until(lambda: not relays(tmp_path), 30, "the relay's end")
    left = set((tmp_path / "journals").glob("*.journal"))
    assert len(left) == 2
    with tracelet.start_logging("next"):
        wait_until(lambda: not any(path.exists() for path in left), 60, "their adoption")
    wait_for_relay(tmp_path)
    found = stored(database)
    assert (found["child"].status, found["child"].multiset) == ("KILLED", multiset(rows(0, 20)))
    assert found["child"].tags["mlflow.parentRunId"] == found["parent"].run_id


def test_files_of_a_child_come_by_http_or_by_its_spool(parent, kid, database, tmp_path):
    address = address_of(parent)
    child = kid("child", address, parent.id, TRACELET_JOURNAL_DIR=str(tmp_path / "elsewhere"))
    child.do("text", "sent")
    child.do("stop")
    assert mlflow_files(f"sqlite:///{database}", database, child.run_id).files == {"a.txt": b"sent"}


def test_a_child_on_the_same_machine_may_use_the_spool_of_the_relay(parent, kid, database, tmp_path):
    child = kid("child", address_of(parent), parent.id, TRACELET_JOURNAL_DIR=str(tmp_path / "elsewhere"))
    spool = tmp_path / "journals" / f"{child.run_id}.files"
    spool.mkdir(mode=0o700)
    put_entry(spool, RunFile("a.txt", FileKind.FILE, 1, "a.txt", 7), lambda path: path.write_bytes(b"spooled"))
    child.do("stop")
    assert mlflow_files(f"sqlite:///{database}", database, child.run_id).files == {"a.txt": b"spooled"}


def test_a_run_of_another_family_is_refused(parent, database):
    stranger = Rank(0, owns_run=True, run_id="stranger")
    stranger.record(0, a=1.0)
    with HttpConnection() as connection:
        answer = connection.post(address_of(parent), stranger.request().SerializeToString())
    assert (answer.status, b"this relay has no run 'stranger', nor its parent" in answer.data) == (400, True)
    assert {run.name for run in stored_runs(database)} == {"parent"}


def test_all_children_share_the_processes_of_the_trackers(kid, tmp_path):
    parent = tracelet.start_logging("parent", backend=["wandb", "clearml"], config=CONFIG)
    kids = [kid(f"child {number}", address_of(parent), parent.id, BACKEND="wandb") for number in range(2)]
    for one in kids:
        one.do("log", 10)
    (relay,) = relays(tmp_path)
    assert [process.name() for process in relay.children(recursive=True)] == ["wandb-core"]
    for one in kids:
        one.do("stop")
    parent.stop()
    wait_for_relay(tmp_path)
    for number, one in enumerate(kids):
        (path,) = offline_files(tmp_path / "wandb", one.run_id)
        found = offline_run(path)
        assert (found.name, found.group, found.job_type) == (f"child {number}", "parent", "worker")
        assert len(found.rows) == 10
        properties = session(tmp_path / "clearml" / "offline" / f"offline-{one.run_id}.zip").properties
        assert properties[semconv.PARENT_RUN_ID] == parent.id
