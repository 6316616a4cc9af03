"""The relay of a run that goes on gets the journal of the attempt before."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from tests.support.waiting import wait_until
from tracelet_otel.relay.handover import is_wanted, left_for_others, open_journal
from tracelet_otel.relay.journal import Journal, JournalInUseError, Position
from tracelet_otel.settings import Settings, load, to_plain


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "r1.journal"


def opening(path: Path) -> tuple[threading.Thread, list[Journal]]:
    """Waits for a journal on another thread."""
    found: list[Journal] = []
    thread = threading.Thread(target=lambda: found.append(open_journal(path, 60, asks=True)))
    thread.start()
    wait_until(lambda: is_wanted(path), 30, "that the journal is asked for")
    return thread, found


def test_a_journal_that_is_kept_is_opened_as_it_was_left(path):
    first = Journal(path)
    first.remember({"left": 1})
    thread, found = opening(path)
    first.close()
    thread.join()
    assert found[0].state == {"left": 1}
    assert not is_wanted(path)
    found[0].close()


def test_a_journal_that_is_deleted_meanwhile_is_made_anew(path):
    first = Journal(path)
    first.remember({"left": 1})
    thread, found = opening(path)
    first.remove()
    thread.join()
    assert found[0].state == {}
    found[0].remember({"new": 1})
    found[0].close()
    again = Journal(path)
    assert again.state == {"new": 1}
    again.close()


def test_who_does_not_get_it_says_so_and_asks_no_more(path):
    first = Journal(path)
    with pytest.raises(JournalInUseError):
        open_journal(path, 0.3, asks=True)
    assert not is_wanted(path)
    first.close()


def test_who_has_asked_and_was_killed_is_forgotten(path):
    wanted = path.with_suffix(".wanted")
    wanted.touch()
    assert is_wanted(path)
    os.utime(wanted, (time.time() - 120,) * 2)
    assert not is_wanted(path)


def test_what_is_left_for_a_tracker_that_the_next_attempt_leaves_out_is_known(path):
    def of(*backends: str) -> Settings:
        return load({}, {"backend": list(backends)})

    journal = Journal(path)
    assert left_for_others(journal, of("wandb")) == {}
    journal.write([(3, b""), (4, b"")], state={"settings": to_plain(of("mlflow", "clearml"))})
    journal.move({"mlflow": Position(after=1, row=2, taken=1), "clearml": Position(after=2)})
    assert left_for_others(journal, of("wandb")) == {"mlflow": 3}
    assert left_for_others(journal, of("wandb", "mlflow")) == {}
    journal.close()
