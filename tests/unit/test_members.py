"""Which processes of a run are there, and how the run stands by what they say."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from tracelet_otel.protocol.decode import Batch
from tracelet_otel.relay.members import Members


def said(rank: int | None, outcome: str | None, *, owner: bool = False, pid: int = 0, host: str = "", **more) -> Batch:
    resource = {"host.name": host or platform.node(), "process.pid": pid or os.getpid()}
    if rank is not None:
        resource["tracelet.rank"] = rank
    return Batch(resource, (), (), outcome, ended=False if owner else None, **{"has_trainer": True, **more})


@pytest.mark.parametrize(
    ("owner", "others", "expected"),
    [
        ("finished", [], "finished"),
        ("running", [], "running"),
        (None, [], None),
        ("finished", ["failed"], "failed"),
        ("running", ["failed"], "failed"),
        (None, ["failed"], "failed"),
        # The launcher ends the others.
        ("terminated", ["failed"], "failed"),
        # The others fail for want of who was interrupted.
        ("interrupted", ["failed"], "interrupted"),
        ("interrupted", ["running"], "interrupted"),
        ("finished", ["terminated"], "terminated"),
        # It had no time to say that it is done.
        ("finished", ["running"], "finished"),
        ("running", ["finished"], "running"),
    ],
)
def test_the_outcome_of_all(owner, others, expected):
    members = Members({})
    for rank, outcome in enumerate(others, 1):
        members.hear(f"p{rank}", said(rank, outcome), 0)
    members.hear("p0", said(0, owner, owner=True), 0)
    assert members.outcome == expected
    assert Members(members.outcomes).outcome == expected


def test_a_failure_that_a_good_training_followed_is_none():
    members = Members({})
    members.hear("p0", said(0, "finished", owner=True), 0)
    members.hear("p1", said(1, "failed"), 0)
    members.hear("p1", said(1, "finished"), 0)
    assert members.outcome == "finished"


def test_the_owner_is_known_by_a_word_that_need_not_be_in_each_part():
    members = Members({})
    members.hear("p0", said(None, "running", owner=True), 0)
    members.hear("p0", said(None, "failed"), 0)
    members.hear("p0", said(None, "finished", owner=True), 0)
    assert members.outcomes == {"owner": "finished"}


def test_who_trains_may_have_more_to_say():
    members = Members({})
    members.hear("p0", said(0, "running", owner=True), 0)
    assert not members.others_may_send(0, None)
    members.hear("p1", said(1, "running"), 0)
    assert members.others_may_send(0, None)
    members.hear("p1", said(1, "finished", queued=3), 0)
    assert members.others_may_send(0, None)
    members.hear("p1", said(1, "finished"), 0)
    assert not members.others_may_send(0, None)
    members.hear("p1", said(1, "running", left=True), 0)
    assert not members.others_may_send(0, None)
    assert members.newly_left(lambda _: True) == [1]
    assert members.newly_left(lambda _: True) == []


def test_a_process_that_dies_is_gone():
    members = Members({})
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        members.hear("p1", said(1, "running", pid=child.pid), 0)
        assert members.others_may_send(1e6, None)
        assert members.newly_gone(10) == []
        child.kill()
        child.stdin.close()
        child.wait()
        # What it sent last may be on its way, as by a collector.
        assert members.others_may_send(20, 15)
        assert members.newly_gone(20) == []
        assert members.others_may_send(30, 15)
        assert not members.others_may_send(30.1, 15)
        # Not looked at more than once a second.
        assert members.newly_gone(20.9) == []
        assert members.newly_gone(30.1) == [1]


def test_a_process_on_another_machine_is_gone_when_it_is_silent():
    members = Members({})
    members.hear("p1", said(1, "running", host="far away"), 0)
    assert members.others_may_send(29, None)
    assert not members.others_may_send(31, None)
    assert members.newly_gone(31) == [1]


def test_a_rank_that_another_process_has_taken_over_is_there():
    members = Members({})
    members.hear("first", said(1, "finished", left=True), 0)
    members.hear("second", said(1, "running"), 0)
    assert members.newly_left(lambda _: True) == []


def test_who_does_not_train_has_a_last_word():
    members = Members({}, export_interval_s=1)
    members.hear("p1", said(1, "running", has_trainer=False), 0)
    assert not members.others_may_send(5, None)
    assert members.others_may_send(5.1, 5)
    assert not members.others_may_send(7.1, 5)
    members.hear("p1", said(1, "running", has_trainer=False), 5.5)
    assert not members.others_may_send(5.6, 5)


def test_who_trained_is_expected_by_the_next_relay():
    before = Members({})
    before.hear("p1", said(1, "running"), 0)
    before.hear("p2", said(2, "finished"), 0)
    after = Members(before.outcomes)
    assert after.others_may_send(100, 99)
    assert not after.others_may_send(131, 99)
    again = Members(before.outcomes)
    again.hear("p1", said(1, "finished"), 100)
    assert not again.others_may_send(100, None)
