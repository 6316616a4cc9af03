"""`tracelet-otel runs`: what goes on on this machine, and what waits in journals."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sqlite3
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import tracelet_otel as tracelet
from tests.support.relays import relays
from tests.support.waiting import free_port, wait_until
from tracelet_otel import semconv
from tracelet_otel.cli import main
from tracelet_otel.cli.found import FoundRun, RunState, of_journal, state_of, tree
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.notice import NOTICE_SUFFIX, Notice, SeenProcess
from tracelet_otel.relay.journal import Journal
from tracelet_otel.session.ranks.rendezvous import Rendezvous, address_from_this_process

SCRIPTS = Path(__file__).parents[1] / "relay" / "scripts"
CONFIG = {"export_interval": 0.1}
GONE = SeenProcess(1, "of another boot")


def runs(*options: str) -> str:
    told = CliRunner().invoke(main, ["runs", *options], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    return told.stdout


def found(*ids: str) -> list[dict[str, Any]]:
    """The runs with these ids, in the order in which they are told. Other tests have runs on this machine, too."""
    return [run for run in json.loads(runs("--json"))["runs"] if run["id"] in ids]


def delivered(run_id: str, backend: str = "mlflow") -> int | None:
    accounts = [(run["backends"] or {}).get(backend) for run in found(run_id)]
    return accounts[0]["delivered"] if accounts and accounts[0] else None


@pytest.fixture
def killed(start, database, tmp_path) -> tuple[str, Path]:
    """A run whose relay was killed, and then its training, while its tracker took nothing: its id and its journal."""
    training = start("leaves_one.py", stdin=subprocess.PIPE)
    run_id = training.stdout.readline().strip()
    wait_until(lambda: delivered(run_id) == 1, 60, "the first value")
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        training.stdin.write("\n")
        training.stdin.flush()
        wait_until(lambda: found(run_id)[0]["backends"]["mlflow"]["pending"] == 2, 60, "what waits")
        (relay,) = relays(tmp_path)
        relay.send_signal(signal.SIGSTOP)
        training.kill()
        training.communicate(timeout=60)
        relay.kill()
        wait_until(lambda: not relays(tmp_path), 60, "the end of the relay")
    return run_id, tmp_path / "journals" / f"{run_id}.journal"


def test_a_run_and_its_child_while_they_go_on_and_after_their_end(start, database, tmp_path):
    parent = tracelet.start_logging("parent", project="commands", config=CONFIG)
    for step in range(3):
        parent.log_metric("loss", step / 3, step)
    address = parent._role.connection.address
    joining = {**CONFIG, "relay_endpoint": address.endpoint, "relay_token": address.token}
    named = {"OTEL_RESOURCE_ATTRIBUTES": f"{semconv.PARENT_RUN_ID}={parent.id}"}
    kid = start(SCRIPTS / "child.py", "a\x1bkid", json.dumps(joining), stdin=subprocess.PIPE, **named)
    kid_id = kid.stdout.readline().strip()
    kid.stdin.write("log 5\n")
    kid.stdin.flush()
    wait_until(lambda: (delivered(parent.id), delivered(kid_id)) == (3, 5), 60, "what both have told")

    first, second = found(kid_id, parent.id)
    account = {"delivered": 3, "refused": 0, "pending": 0, "problem": None, "incomplete": 0}
    assert {name: first[name] for name in first if name not in ("start", "told", "urls")} == {
        "id": parent.id,
        "name": "parent",
        "project": "commands",
        "parent_id": None,
        "state": "running",
        "has_relay": True,
        "outcome": "running",
        "end": None,
        "backends": {"mlflow": account},
        "files": 0,
        "journal": str(tmp_path / "journals" / f"{parent.id}.journal"),
    }
    assert first["urls"] == parent.urls
    assert first["start"] < first["told"]
    assert (second["id"], second["parent_id"], second["state"]) == (kid_id, parent.id, "running")
    lines = runs().splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.startswith("parent  ") and parent.id[:8] in line]
    assert lines[at].split()[2] == "running"
    assert re.search(r" commands +mlflow: 3 delivered, 0 wait$", lines[at])
    assert lines[at + 1] == f"  {first['journal']}"
    assert lines[at + 2].startswith("  a?kid")

    kid.stdin.write("stop\n")
    kid.communicate(timeout=60)
    assert kid.returncode == 0
    parent.stop()
    wait_until(lambda: found(parent.id, kid_id) == [], 60, "that nothing is left")
    assert not list((tmp_path / "journals").glob(f"*{NOTICE_SUFFIX}"))


def test_what_a_killed_relay_and_training_have_left_waits_until_it_is_replayed(killed):
    run_id, journal = killed
    before = [(path, path.read_bytes()) for path in sorted(journal.parent.iterdir()) if path.is_file()]
    (run,) = found(run_id)
    assert (run["name"], run["state"], run["has_relay"], run["journal"]) == ("left", "waiting", False, str(journal))
    account = run["backends"]["mlflow"]
    assert (account["delivered"], account["pending"]) == (1, 2)
    lines = runs().splitlines()
    (at,) = [number for number, line in enumerate(lines) if run_id[:8] in line and line.startswith("left")]
    assert "waiting" in lines[at]
    assert lines[at].endswith("mlflow: 1 delivered, 2 wait")
    assert lines[at + 1] == f"  tracelet-otel replay {journal}"
    tail = CliRunner().invoke(main, ["tail", run_id], catch_exceptions=False)
    assert tail.exit_code == 0, tail.output
    assert "mlflow: 1 delivered, 2 wait\n" in tail.stdout
    assert tail.stdout.splitlines()[-1].endswith(f"what is not delivered waits for `tracelet-otel replay {journal}`")
    assert [(path, path.read_bytes()) for path in sorted(journal.parent.iterdir()) if path.is_file()] == before
    assert CliRunner().invoke(main, ["replay", str(journal)], catch_exceptions=False).exit_code == 0
    assert found(run_id) == []


def test_a_run_whose_journal_is_elsewhere_is_found_by_its_process(database, tmp_path, monkeypatch):
    launched = tracelet.start_logging("launched", config=CONFIG)
    launched.log_metric("loss", 0.5, 0)
    wait_until(lambda: delivered(launched.id) == 1, 60, "the value")
    monkeypatch.setenv("TRACELET_JOURNAL_DIR", str(tmp_path / "elsewhere"))
    journal = str(tmp_path / "journals" / f"{launched.id}.journal")
    wait_until(lambda: found(launched.id)[0]["journal"] == journal, 60, "the relay's answer")
    (tmp_path / "journals" / f"{launched.id}{NOTICE_SUFFIX}").rename(tmp_path / "hidden")
    # A busy relay may not answer in time, and then it is not known.
    wait_until(lambda: delivered(launched.id) == 1, 60, "the relay's answer")
    (run,) = found(launched.id)
    assert (run["state"], run["start"]) == ("running", None)
    launched.stop()


def test_a_run_whose_relay_does_not_answer_is_told_as_far_as_it_is_known():
    endpoint = f"http://127.0.0.1:{free_port()}"
    rendezvous = Rendezvous(uuid.uuid4().hex, 1)
    run_id = uuid.uuid4().hex
    rendezvous.publish(address_from_this_process(run_id, "far", "away", endpoint, "a", {"backend": ["mlflow"]}))
    try:
        (run,) = found(run_id)
        (line,) = [line for line in runs().splitlines() if run_id[:8] in line]
        tail = CliRunner().invoke(main, ["tail", run_id])
    finally:
        rendezvous.withdraw()
    assert (run["state"], run["has_relay"], run["backends"], run["journal"]) == (
        "running",
        None,
        {"mlflow": None},
        None,
    )
    assert line.split() == ["far", run_id[:8], "running", "not", "known", "away", "mlflow:", "not", "known"]
    assert (tail.exit_code, tail.stdout) == (1, "")
    assert tail.stderr.startswith("Error: its relay is on another machine, or it has none")
    assert found(run_id) == []


def test_a_run_without_a_relay_process(database, tmp_path):
    run = tracelet.start_logging("embedded", config={**CONFIG, "relay": False})
    run.log_metric("loss", 0.5, 0)
    wait_until(lambda: delivered(run.id) == 1, 60, "the value")
    (told,) = found(run.id)
    assert (told["state"], told["has_relay"], told["name"]) == ("running", True, "embedded")
    run.stop()
    assert list((tmp_path / "journals").iterdir()) == []


def test_a_journal_without_a_notice_is_told_as_far_as_it_is_known(tmp_path):
    journal = Journal(tmp_path / "journals" / "older.journal")
    journal.close()
    (run,) = found("older")
    assert {name for name, value in run.items() if value is None} == {
        "name", "project", "parent_id", "outcome", "start", "end", "backends", "told",
    }  # fmt: skip
    assert (run["state"], run["has_relay"]) == ("waiting", False)
    (line,) = [line for line in runs().splitlines() if "older  " in line]
    assert line.split() == ["not", "known", "older", "waiting", *["not", "known"] * 3]
    tail = CliRunner().invoke(main, ["tail", "older"])
    assert (tail.exit_code, tail.stdout) == (1, "")
    assert "no relay of today's has" in tail.stderr


def test_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tracelet_otel.cli.found.published", list)
    assert runs() == "no run goes on here, and none waits in a journal\n"
    assert json.loads(runs("--json")) == {"runs": []}
    assert not (tmp_path / "journals").exists()
    monkeypatch.setenv("TRACELET_RANKS", "some")
    told = CliRunner().invoke(main, ["runs"])
    assert (told.exit_code, told.stdout) == (1, "")


@pytest.mark.parametrize(
    ("notice", "has_relay", "state"),
    [
        ({}, True, RunState.RUNNING),
        ({"has_ended": True}, True, RunState.ENDING),
        ({"has_ended": True, "is_over": True, "is_complete": True}, True, RunState.ENDED),
        ({"has_ended": True, "is_over": True}, False, RunState.WAITING),
        ({}, None, RunState.UNKNOWN),
        ({"owner": GONE}, False, RunState.WAITING),
        ({"owner": None}, False, RunState.WAITING),
    ],
)
def test_states(notice, has_relay, state):
    told = Notice("r1", "a run", "Default", "here", GONE, **notice)
    assert state_of(told, has_relay=has_relay) is state


def test_a_run_of_another_machine_is_of_unknown_state(tmp_path):
    journal = tmp_path / "r1.journal"
    Journal(journal).close()
    told = Notice(
        "r1", "a run", "Default", "another machine", GONE, backends=("a", "b"), accounts={"a": Account(5, 1, 2, None)}
    )
    journal.with_suffix(NOTICE_SUFFIX).write_bytes(told.line())
    run = of_journal(journal)
    assert (run.state, run.has_relay, run.notice) == (RunState.UNKNOWN, None, told)


def test_children_are_below_their_parents_and_orphans_stand_alone():
    parents = {"a": None, "b": "a", "c": "b", "d": "a", "e": "gone", "f": "f"}
    made = [FoundRun(one, RunState.RUNNING, parent_run_id=parent) for one, parent in parents.items()]
    assert [(depth, run.run_id) for depth, run in tree(made)][:5] == [(0, "a"), (1, "b"), (2, "c"), (1, "d"), (0, "e")]
