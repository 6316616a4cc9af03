from __future__ import annotations

import contextlib
import resource
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest

from tracelet_otel.relay.journal import Journal, JournalError, JournalInUseError, Taken


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "run.journal"


def test_a_path_with_a_word_of_sqlites_is_not_in_use(tmp_path):
    (tmp_path / "locked").touch()
    with pytest.raises(JournalError, match="cannot be used"):
        Journal(tmp_path / "locked" / "r1.journal")


def test_what_was_written_is_there_for_the_next_process(path):
    journal = Journal(path)
    assert journal.is_empty
    bodies = [b"one", b"two", b"three"]
    numbers = [journal.append(body, {"seen": {"p": [[1, number + 1]]}}) for number, body in enumerate(bodies)]
    taken = Taken(2, 1, {"p": [[1, 3]]})
    journal.take("mlflow", taken)
    journal.close()
    again = Journal(path)
    assert list(again.bodies()) == list(zip(numbers, bodies, strict=True))
    assert again.taken("mlflow") == taken
    assert again.taken("other") == Taken()
    assert again.state == {"seen": {"p": [[1, 3]]}}
    assert not again.is_empty
    again.forget(numbers[1])
    assert [body for _, body in again.bodies()] == bodies[2:]
    again.remove()
    assert list(path.parent.iterdir()) == []


def test_a_short_look_of_another_process_can_be_waited_for(path):
    journal = Journal(path)
    journal.close()
    script = f"""
import sys
from pathlib import Path
from tracelet_otel.relay.journal import Journal
journal = Journal(Path({str(path)!r}))
print("open", flush=True)
sys.stdin.read()
journal.close()
"""
    looking = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert looking.stdout.readline() == "open\n"
    with pytest.raises(JournalInUseError):
        Journal(path)
    ending = threading.Timer(0.3, looking.stdin.close)
    ending.start()
    Journal(path, wait_s=30).close()
    ending.join()
    assert looking.wait(30) == 0
    looking.stdout.close()


def test_what_was_appended_survives_a_kill(path):
    script = f"""
import os, signal
from pathlib import Path
from tracelet_otel.relay.journal import Journal
journal = Journal(Path({str(path)!r}))
journal.append(b"kept", {{}})
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    journal = Journal(path)
    assert [body for _, body in journal.bodies()] == [b"kept"]
    journal.remove()


def test_one_process_has_it_at_a_time(path):
    journal = Journal(path)
    with pytest.raises(JournalInUseError, match="in use by another process"):
        Journal(path)
    journal.remove()


def test_others_cannot_read_it(path):
    journal = Journal(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    journal.remove()


def test_a_place_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match=r"file/run.journal cannot be used"):
        Journal(tmp_path / "file" / "run.journal")


def test_a_file_that_is_no_journal_is_named(path):
    path.parent.mkdir()
    path.write_text("something else, long enough to be read as a header of a file" * 20)
    with pytest.raises(JournalError, match="not a database"):
        Journal(path)


def test_its_directory_is_made_however_deep(tmp_path):
    path = tmp_path / "not" / "there" / "yet" / "run.journal"
    journal = Journal(path)
    journal.append(b"kept", {})
    assert [body for _, body in journal.bodies()] == [b"kept"]
    journal.remove()


@contextlib.contextmanager
def full_disk():
    """No file may become longer than nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_does_not_get_on_the_disk_is_said_and_leaves_the_rest_as_it_was(path):
    journal = Journal(path)
    journal.append(b"before", {"key": "before"})
    with full_disk(), pytest.raises(JournalError, match=r"run\.journal cannot be written: "):
        journal.append(b"lost", {"key": "lost"})
    assert [body for _, body in journal.bodies()] == [b"before"]
    assert journal.state == {"key": "before"}
    journal.append(b"after", {"key": "after"})
    assert [body for _, body in journal.bodies()] == [b"before", b"after"]
    assert journal.state == {"key": "after"}
    journal.remove()


def test_a_body_is_not_kept_without_what_is_to_be_remembered_with_it(path):
    journal = Journal(path)
    with pytest.raises(TypeError, match="not JSON serializable"):
        journal.append(b"one", {"key": object()})
    assert journal.is_empty
    journal.remove()


READS = {
    "state": lambda journal: journal.state,
    "is empty": lambda journal: journal.is_empty,
    "bodies": lambda journal: next(journal.bodies()),
    "taken": lambda journal: journal.taken("mlflow"),
}
WRITES = {
    "append": lambda journal: journal.append(b"one", {}),
    "remember": lambda journal: journal.remember({"key": 1}),
    "take": lambda journal: journal.take("mlflow", Taken()),
    "forget": lambda journal: journal.forget(1),
    "clear": lambda journal: journal.clear(),
}
USES = [(use, "read") for use in READS.values()] + [(use, "written") for use in WRITES.values()]


@pytest.mark.parametrize(("use", "how"), USES, ids=[*READS, *WRITES])
def test_a_damaged_file_is_named_whoever_uses_it(path, use, how):
    journal = Journal(path)
    journal.append(b"one", {"seen": {}})
    journal.take("mlflow", Taken(1))
    journal.close()
    content = path.read_bytes()
    # The first page says which tables there are, and the others what is in them.
    path.write_bytes(content[:4096] + b"x" * (len(content) - 4096))
    damaged = Journal(path)
    with pytest.raises(JournalError, match=rf"run\.journal cannot be {how}: "):
        use(damaged)
    damaged.close()


@pytest.mark.parametrize(("use", "how"), USES, ids=[*READS, *WRITES])
def test_who_uses_it_after_its_end_is_told(path, use, how):
    journal = Journal(path)
    journal.close()
    with pytest.raises(JournalError, match=rf"run\.journal cannot be {how}: "):
        use(journal)


def test_a_state_that_cannot_be_understood_is_said(path):
    journal = Journal(path)
    journal.remember({"seen": {}})
    journal.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE state SET value = 'not JSON'")
    connection.commit()
    connection.close()
    again = Journal(path)
    with pytest.raises(JournalError, match=r"run\.journal cannot be read: "):
        _ = again.state
    again.remove()
