"""Which processes of a run are there, and how the run stands by what they say."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from unittest.mock import ANY

import pytest

from tracelet_otel.protocol.decode import Batch
from tracelet_otel.relay.members import Members
from tracelet_otel.relay.parts import process_of


def said(rank: int | None, outcome: str | None, *, owner: bool = False, pid: int = 0, host: str = "", **more) -> Batch:
    resource = {"host.name": host or platform.node(), "process.pid": pid or os.getpid()}
    if rank is not None:
        resource["tracelet.rank"] = rank
    return Batch(resource, (), (), outcome, ended=False if owner else None, **{"has_trainer": True, **more})


def known(**processes: Batch):
    """What the journal has of processes by the time that something has come from each."""
    members, identities = Members({}), {}
    for process, batch in processes.items():
        identities[process] = next(iter(members.identities([batch]).values()))
        members.hear(process, batch, 0)
    return members.outcomes, json.loads(json.dumps(identities))


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
    outcomes, identities = known(p0=said(0, "running", owner=True), p1=said(1, "running"), p2=said(2, "finished"))
    after = Members(outcomes, 1, identities, 90)
    assert after.others_may_send(1e6, 99)
    after.hear("p1", said(1, "finished"), 100)
    assert not after.others_may_send(100, None)


def test_who_died_before_the_relay_did_is_gone_for_the_next_one():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        outcomes, identities = known(
            p0=said(0, "running", owner=True, pid=child.pid),
            p1=said(1, "running", pid=child.pid),
            p2=said(2, "running"),
            p3=said(3, "running", host="far away"),
        )
        child.kill()
        child.stdin.close()
    after = Members(outcomes, 1, identities, 100)
    # The owner's death is seen by others, and the run goes on without it.
    assert after.newly_gone(110) == []
    assert after.newly_gone(120.1) == [1]
    assert after.newly_gone(130.1) == [3]
    assert after.others_may_send(140, 99)


def test_a_process_is_told_to_the_next_relay_once():
    members = Members({})
    assert list(members.identities([said(1, "running")]).values()) == [[1, False, os.getpid(), ANY]]
    members.hear(process_of(said(1, "running").resource), said(1, "running"), 0)
    assert members.identities([said(1, "finished"), said(None, None)]) == {}
    assert [identity[0] for identity in members.identities([said(2, "running")]).values()] == [2]
    assert members.identities([said(2, None, is_system=True)]) == {}
