"""Which process owns a run, which follows, and which does nothing."""

from __future__ import annotations

import os

import pytest

from tests.support.waiting import wait_until
from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import RunLostError, TrackerUnavailableError
from tracelet_otel.resource.membership import Membership
from tracelet_otel.resource.rank_info import RankInfo
from tracelet_otel.session.owner import Owner
from tracelet_otel.session.ranks.follower import Follower
from tracelet_otel.session.ranks.rendezvous import RunAddress, SpawnContext
from tracelet_otel.session.role import Silent
from tracelet_otel.session.roles import Roles
from tracelet_otel.settings import load

CHILD_OF_DDP = {"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in (*CHILD_OF_DDP, "RANK", "GROUP_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def roles():
    return Roles(lambda settings, spawn_context: spawn_context)


def told(monkeypatch, **environment: str) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def settings(**config):
    return load({}, config)


def test_what_a_training_starts_is_told_while_it_runs(roles):
    role = roles.next(settings())
    assert isinstance(role, Owner)
    assert "TRACELET_HANDOVER" not in os.environ
    role.launching.begin(3)
    spawn_context = SpawnContext.from_text(os.environ["TRACELET_HANDOVER"])
    assert (spawn_context.run_number, spawn_context.training) == (1, 3)
    assert role.launching.in_process == spawn_context
    role.launching.end()
    assert "TRACELET_HANDOVER" not in os.environ


def test_a_child_of_ddp_is_silent_until_it_was_started(roles, monkeypatch):
    told(monkeypatch, **CHILD_OF_DDP, TRACELET_HANDOVER="ab12.2.3")
    assert isinstance(roles.next(settings()), Silent)
    # What it starts itself is no rank of that run.
    assert "TRACELET_HANDOVER" not in os.environ
    second = roles.next(settings())
    assert isinstance(second, Follower)
    # What it trains alone before does not count: rank 0 need not have done the same.
    for world_size, repeats, training in ((1, True, 2), (2, False, 3), (1, False, 3), (2, False, 4)):
        second.membership.begin(world_size)
        assert (second.membership.repeats, second.membership.training) == (repeats, training)
    third = roles.next(settings())
    assert isinstance(third, Follower)
    assert not third.membership.repeats


@pytest.mark.parametrize("spawn_context", [None, "nonsense", "ab12.1.1"])
def test_a_script_that_a_training_starts_has_a_run_of_its_own(roles, monkeypatch, spawn_context):
    if spawn_context:
        told(monkeypatch, TRACELET_HANDOVER=spawn_context, LOCAL_RANK="0")
    assert isinstance(roles.next(settings()), Owner)
    assert "TRACELET_HANDOVER" not in os.environ


def test_what_each_rank_trains_alone_is_reported_by_the_first(roles, monkeypatch):
    first = roles.next(settings()).membership
    told(monkeypatch, **CHILD_OF_DDP)
    second = roles.next(settings()).membership
    assert not first.is_shadow(world_size=1)
    assert second.is_shadow(world_size=1)
    assert not second.is_shadow(world_size=2)


def test_without_a_relay_only_rank_0_records(roles, monkeypatch, caplog):
    owner = roles.next(settings(relay=False))
    assert isinstance(owner, Owner)
    owner.launching.begin(1)
    assert "TRACELET_HANDOVER" not in os.environ
    assert owner.launching.in_process is None
    told(monkeypatch, **CHILD_OF_DDP)
    role = roles.next(settings(relay=False))
    assert isinstance(role, Silent)
    role.open({}, Guard())
    assert (role.exporters, role.owns_run) == ((), False)
    # What an SDK of somebody else's exports says of which rank it is.
    assert role.membership.rank == 1
    assert role.membership.is_shadow(world_size=1)
    assert caplog.messages == ["rank 1 records nothing: without a relay (relay=False) only rank 0 does"]


@pytest.mark.parametrize(
    ("environment", "config", "message"),
    [
        ({"RANK": "1", "GROUP_RANK": "1", "MASTER_PORT": "1"}, {}, "another node than rank 0.*TRACELET_RELAY_ENDPOINT"),
        (
            {"NODE_RANK": "1"},
            {"relay_endpoint": "http://relay:1", "relay_token": "t" * 16},
            "another node than rank 0.*TRACELET_RUN_ID",
        ),
        ({"RANK": "1"}, {}, "nothing says to which job it belongs"),
    ],
)
def test_a_rank_that_cannot_find_its_run_says_what_is_missing(roles, monkeypatch, environment, config, message):
    told(monkeypatch, **environment)
    role = roles.next(settings(**config))
    assert isinstance(role, Follower)
    with pytest.raises(RunLostError, match=message):
        role._find(None)


def test_a_rank_whose_relay_is_elsewhere_has_a_spool_of_its_own(tmp_path):
    """A process that sends its files itself removes its spool at its end, when other ranks may still use theirs."""
    address = RunAddress("r1", "run", "project", "http://127.0.0.1:1", "", "elsewhere", 1, "")

    def follower() -> Follower:
        made = Follower(Membership(RankInfo(1)), lambda _: address, settings(backend="mlflow", journal_dir=tmp_path))
        made.open({}, Guard())
        wait_until(lambda: made.run_id, 20, "the run")
        return made

    far = [follower() for _ in range(2)]
    assert len({role.spool for role in far} | {tmp_path / "r1.files"}) == 3
    assert all(role.file_relay is not None for role in far)
    journal = tmp_path / "r1.journal"
    journal.touch()
    near = follower()
    assert (near.spool, near.file_relay) == (tmp_path / "r1.files", None)
    # At the end of a run, its relay may be faster than this process.
    journal.unlink()
    assert (near.spool, near.file_relay) == (tmp_path / "r1.files", None)


def test_a_relay_that_is_not_found_yet_has_no_address(tmp_path):
    """The collector of the run may be found before it is."""
    role = Follower(Membership(RankInfo(1)), lambda _: None, settings(backend="mlflow", journal_dir=tmp_path))
    role.open({}, Guard())
    assert role.file_relay is not None
    with pytest.raises(TrackerUnavailableError):
        role.file_relay()
    role.abandon()


def test_a_run_without_trackers_is_not_looked_for_in_a_relay(roles, monkeypatch):
    told(monkeypatch, RANK="1", MASTER_PORT="1")
    config = {"backend": "otlp", "relay_endpoint": "http://127.0.0.1:1", "relay_token": "t" * 16, "run_id": "known"}
    assert roles.next(settings(**config))._find(None).run_id == "known"


def test_a_rank_works_for_the_run_of_its_training_in_no_other_way(roles, monkeypatch):
    told(monkeypatch, **CHILD_OF_DDP, TRACELET_HANDOVER="ab12.1.1", TRACELET_RECORDER="1:ab12.1.0")
    assert isinstance(roles.next(settings()), Follower)
    assert "TRACELET_RECORDER" not in os.environ


def test_a_rank_of_a_training_in_a_worker_works_for_that_worker_and_its_parent(roles, monkeypatch):
    told(monkeypatch, **CHILD_OF_DDP, TRACELET_HANDOVER="ab12.1.1", TRACELET_RECORDER="1:parent.1.0")
    assert isinstance(roles.next(settings()), Follower)
    assert os.environ["TRACELET_RECORDER"] == "1:parent.1.0"
