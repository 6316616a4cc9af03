"""The file by which ranks on one machine find their run."""

from __future__ import annotations

import os
import platform
import stat
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.support.waiting import wait_until
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.processes import started
from tracelet_otel.session.calls import Address
from tracelet_otel.session.ranks.announcement import RunAnnouncement
from tracelet_otel.session.ranks.rendezvous import Rendezvous, RendezvousError, SpawnContext, address_from_this_process


@pytest.fixture
def run_address():
    return address_from_this_process("r1", "train", "Default", "http://127.0.0.1:1", "sEcReT")


@pytest.fixture
def rendezvous(tmp_path):
    return Rendezvous("job", 1, tmp_path / "ranks")


@pytest.fixture
def other():
    """Another process."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield child
    child.kill()
    child.wait()
    child.stdin.close()


def test_what_is_told_is_read_by_this_user_only(rendezvous, run_address):
    assert rendezvous.read() is None
    assert rendezvous.publish(run_address)
    assert rendezvous.read() == run_address
    assert stat.S_IMODE(rendezvous.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(rendezvous.path.parent.stat().st_mode) == 0o700
    # Somewhere else after a restart.
    moved = replace(run_address, endpoint="http://127.0.0.1:2")
    assert rendezvous.publish(moved)
    assert rendezvous.read() == moved
    rendezvous.withdraw()
    assert rendezvous.read() is None
    assert list(rendezvous.path.parent.iterdir()) == []


def test_a_file_that_somebody_has_cleaned_away_is_written_again(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spawn_context = SpawnContext("job", 1, 0)
    rendezvous, announcement = (
        Rendezvous(spawn_context.job, 1),
        RunAnnouncement(spawn_context, lambda _: None, {}, at_once=True),
    )
    resource = {"tracelet.run.id": "r1", "tracelet.run.name": "train", "tracelet.project.name": "Default"}
    announcement.open(resource, lambda: Address("http://127.0.0.1:1", "sEcReT"), Guard())
    first = rendezvous.read()
    assert first is not None
    rendezvous.path.unlink()
    announcement.begin(2)
    announcement.end()
    assert rendezvous.read() == first
    announcement.close()


def test_the_default_place_is_of_this_user():
    assert Rendezvous("job", 2).path.parent.name == f"tracelet-otel-{os.getuid()}"
    assert Rendezvous("job", 2).path.name == "job.2.run"


def test_an_owner_that_lives_keeps_its_place_and_one_that_is_gone_does_not(rendezvous, run_address, other):
    theirs = replace(run_address, owner_pid=other.pid, owner_started=started(other.pid), run_id="theirs")
    assert rendezvous.publish(theirs)
    assert not rendezvous.publish(run_address)
    assert rendezvous.read() == theirs
    rendezvous.withdraw()
    assert rendezvous.read() == theirs
    other.kill()
    wait_until(lambda: rendezvous.read() is None, 10, "the end of a killed process")
    # Also where it is of another run of its job.
    assert Rendezvous("job", 2, rendezvous.path.parent).publish(run_address)
    assert not rendezvous.path.exists()


def test_a_run_on_another_machine_is_none_of_ours(rendezvous, run_address):
    assert rendezvous.publish(replace(run_address, host=f"not-{platform.node()}"))
    assert rendezvous.read() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run_id": "r1"}', b"\xff"])
def test_a_file_that_is_none_of_ours_is_no_run(rendezvous, run_address, content):
    assert rendezvous.publish(run_address)
    rendezvous.path.write_bytes(content)
    assert rendezvous.read() is None
    assert rendezvous.publish(run_address)
    assert rendezvous.read() == run_address


def test_a_file_that_others_can_read_is_not_trusted(rendezvous, run_address):
    assert rendezvous.publish(run_address)
    rendezvous.path.chmod(0o644)
    with pytest.raises(RendezvousError, match="others than this user have access"):
        rendezvous.read()


@pytest.mark.parametrize("kind", ["open to others", "a link", "a file"])
def test_a_directory_that_is_not_ours_alone_is_refused(tmp_path, run_address, kind):
    place = tmp_path / "ranks"
    if kind == "open to others":
        place.mkdir()
        place.chmod(0o755)
    elif kind == "a link":
        (tmp_path / "real").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "real")
    else:
        place.touch()
    with pytest.raises(RendezvousError, match=r"ranks cannot meet in .*ranks: "):
        Rendezvous("job", 1, place).publish(run_address)


def test_what_a_process_is_told_in_its_environment_has_no_secret():
    spawn_context = SpawnContext("ab12", 2, 3)
    assert spawn_context.text() == "ab12.2.3"
    assert SpawnContext.from_text(spawn_context.text()) == spawn_context


@pytest.mark.parametrize("text", ["", "ab12", "ab12.2", "../x.1.1", "ab12.a.1", "ab12.1.1.1"])
def test_what_is_no_handover(text):
    assert SpawnContext.from_text(text) is None


def test_later_runs_of_a_process_are_found_in_their_order(tmp_path):
    for job, number in (("job", 1), ("job", 2), ("job", 10), ("job", 3), ("other", 4)):
        Rendezvous(job, number, tmp_path).publish(address_from_this_process("id", "name", "project", "", ""))
    later = list(Rendezvous("job", 2, tmp_path).later())
    assert [one.path.name for one in later] == ["job.3.run", "job.10.run"]
    assert list(Rendezvous("job", 10, tmp_path).later()) == []
