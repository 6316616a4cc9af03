"""Starting a relay, where that is not easy."""

from __future__ import annotations

import os
import resource
import time

import pytest

import tracelet_otel as tracelet
from tests.support.mlflow_store import multiset, stored_run
from tracelet_otel._support.processes import is_alive, started
from tracelet_otel.relay.journal import Journal
from tracelet_otel.session.launch import remove_empty


@pytest.fixture
def many_descriptors():
    """All descriptors that `select` knows are taken, as by a training with many workers."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 2048), before[1]))
    taken = [os.open(os.devnull, os.O_RDONLY)]
    while taken[-1] < 1100:
        taken.append(os.open(os.devnull, os.O_RDONLY))
    yield
    for descriptor in taken:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_process_with_many_open_files(database, many_descriptors):
    with tracelet.start_logging("many") as run:
        run.log_metric("loss", 0.5, 1)
    assert stored_run(database).multiset == multiset([("loss", 1, 0.5)])


def test_a_start_that_fails_and_says_why_leaves_nothing(tmp_path):
    with pytest.raises(tracelet.ConfigurationError, match="MLflow keeps no runs in a folder any more"):
        tracelet.start_logging(backend_url="./mlruns")
    assert list((tmp_path / "journals").iterdir()) == []


def test_no_network_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    began_s = time.monotonic()
    with pytest.raises(tracelet.TrackerError, match=r"W&B at https://\S+ cannot be reached"):
        tracelet.start_logging(backend="wandb")
    # W&B's own client would try for longer.
    assert time.monotonic() - began_s < 25


def test_a_start_that_fails_leaves_what_an_earlier_run_left(tmp_path, database):
    database.write_bytes(b"no database")
    path = tmp_path / "journals" / "earlier.journal"
    journal = Journal(path)
    journal.write(
        [(1, b"rows")], state={"settings": {"backend": "theirs"}, "ended": True, "outcomes": {"owner": "finished"}}
    )
    before = journal.state
    journal.close()
    with pytest.raises(tracelet.TraceletError):
        tracelet.start_logging("again", config={"run_id": "earlier"})
    after = Journal(path)
    assert after.state == before
    assert after.next_row(0) == (1, b"rows")
    after.close()


def test_only_an_empty_journal_that_nobody_has_is_removed(tmp_path):
    full, empty = tmp_path / "full.journal", tmp_path / "empty.journal"
    journal = Journal(full)
    journal.write([(1, b"rows")])
    journal.close()
    Journal(empty).close()
    for path in (full, empty, tmp_path / "none.journal"):
        remove_empty(path)
    assert list(tmp_path.iterdir()) == [full]


def test_a_process_is_known_by_more_than_its_pid():
    own = started(os.getpid())
    assert is_alive(os.getpid(), own)
    assert not is_alive(os.getpid(), started(1))
    assert not is_alive(2**22, own)
