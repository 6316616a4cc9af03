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
from tracelet_otel.session.ranks.announcement import Telling
from tracelet_otel.session.ranks.rendezvous import Handover, Rendezvous, RendezvousError, meeting_of_this_process


@pytest.fixture
def meeting():
    return meeting_of_this_process("r1", "train", "Default", "http://127.0.0.1:1", "sEcReT")


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


def test_what_is_told_is_read_by_this_user_only(rendezvous, meeting):
    assert rendezvous.read() is None
    assert rendezvous.publish(meeting)
    assert rendezvous.read() == meeting
    assert stat.S_IMODE(rendezvous.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(rendezvous.path.parent.stat().st_mode) == 0o700
    # Somewhere else after a restart.
    moved = replace(meeting, endpoint="http://127.0.0.1:2")
    assert rendezvous.publish(moved)
    assert rendezvous.read() == moved
    rendezvous.withdraw()
    assert rendezvous.read() is None
    assert list(rendezvous.path.parent.iterdir()) == []


def test_a_file_that_somebody_has_cleaned_away_is_written_again(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    handover = Handover("job", 1, 0)
    rendezvous, telling = Rendezvous(handover.job, 1), Telling(handover, lambda _: None, at_once=True)
    resource = {"tracelet.run.id": "r1", "tracelet.run.name": "train", "tracelet.project.name": "Default"}
    telling.open(resource, lambda: Address("http://127.0.0.1:1", "sEcReT"), Guard())
    first = rendezvous.read()
    assert first is not None
    rendezvous.path.unlink()
    telling.begin(2)
    telling.end()
    assert rendezvous.read() == first
    telling.close()


def test_the_default_place_is_of_this_user():
    assert Rendezvous("job", 2).path.parent.name == f"tracelet-otel-{os.getuid()}"
    assert Rendezvous("job", 2).path.name == "job.2.run"


def test_an_owner_that_lives_keeps_its_place_and_one_that_is_gone_does_not(rendezvous, meeting, other):
    theirs = replace(meeting, owner_pid=other.pid, owner_started=started(other.pid), run_id="theirs")
    assert rendezvous.publish(theirs)
    assert not rendezvous.publish(meeting)
    assert rendezvous.read() == theirs
    rendezvous.withdraw()
    assert rendezvous.read() == theirs
    other.kill()
    wait_until(lambda: rendezvous.read() is None, 10, "the end of a killed process")
    # Also where it is of another run of its job.
    assert Rendezvous("job", 2, rendezvous.path.parent).publish(meeting)
    assert not rendezvous.path.exists()


def test_a_run_on_another_machine_is_none_of_ours(rendezvous, meeting):
    assert rendezvous.publish(replace(meeting, host=f"not-{platform.node()}"))
    assert rendezvous.read() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run_id": "r1"}', b"\xff"])
def test_a_file_that_is_none_of_ours_is_no_run(rendezvous, meeting, content):
    assert rendezvous.publish(meeting)
    rendezvous.path.write_bytes(content)
    assert rendezvous.read() is None
    assert rendezvous.publish(meeting)
    assert rendezvous.read() == meeting


def test_a_file_that_others_can_read_is_not_trusted(rendezvous, meeting):
    assert rendezvous.publish(meeting)
    rendezvous.path.chmod(0o644)
    with pytest.raises(RendezvousError, match="others than this user have access"):
        rendezvous.read()


@pytest.mark.parametrize("kind", ["open to others", "a link", "a file"])
def test_a_directory_that_is_not_ours_alone_is_refused(tmp_path, meeting, kind):
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
        Rendezvous("job", 1, place).publish(meeting)


def test_what_a_process_is_told_in_its_environment_has_no_secret():
    handover = Handover("ab12", 2, 3)
    assert handover.text() == "ab12.2.3"
    assert Handover.from_text(handover.text()) == handover


@pytest.mark.parametrize("text", ["", "ab12", "ab12.2", "../x.1.1", "ab12.a.1", "ab12.1.1.1"])
def test_what_is_no_handover(text):
    assert Handover.from_text(text) is None
