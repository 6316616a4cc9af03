from __future__ import annotations

import contextlib
import gc
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest

from tests.support.disk import full_disk
from tracelet_otel.relay.journal import Journal, JournalError, JournalInUseError, Position


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "run.journal"


def test_a_path_with_a_word_of_sqlites_is_not_in_use(tmp_path):
    (tmp_path / "locked").touch()
    with pytest.raises(JournalError, match="cannot be used"):
        Journal(tmp_path / "locked" / "r1.journal")


def rows_of(journal: Journal) -> list[bytes]:
    rows, after = [], 0
    while (row := journal.next_row(after)) is not None:
        after = row[0]
        rows.append(row[1])
    return rows


def test_what_was_written_is_there_for_the_next_process(path):
    journal = Journal(path)
    assert journal.is_empty
    for number, row in enumerate([b"one", b"two", b"three"]):
        journal.write([(10, row)], unmerged=b"shares of " + row, state={"seen": {"p": [[1, number + 1]]}})
    position = Position(after=1, row=2, taken=3, delivered=12, refused=1)
    journal.move({"mlflow": position})
    journal.close()
    again = Journal(path)
    assert rows_of(again) == [b"one", b"two", b"three"]
    assert [content for _, content in again.unmerged()] == [b"shares of one", b"shares of two", b"shares of three"]
    assert again.position("mlflow") == position
    assert again.position("other") == Position()
    assert again.readings_after(1) == 20
    assert again.state == {"seen": {"p": [[1, 3]]}}
    assert not again.is_empty
    again.write(merged=[1, 3])
    assert [content for _, content in again.unmerged()] == [b"shares of two"]
    again.remove()
    assert list(path.parent.iterdir()) == []


def test_rows_go_and_their_numbers_are_not_used_again(path):
    journal = Journal(path)
    numbers = journal.write([(1, name) for name in (b"one", b"two", b"three")]).ready
    assert (journal.oldest_rows(2, 99), journal.oldest_rows(9, numbers[0])) == (
        [(numbers[0], 1, 3), (numbers[1], 1, 3)],
        [(numbers[0], 1, 3)],
    )
    journal.move({}, forget_to=numbers[0], forget=[numbers[2]])
    assert rows_of(journal) == [b"two"]
    journal.clear()
    assert (rows_of(journal), journal.oldest_rows(9, 99), journal.last_row) == ([], [], numbers[-1])
    (later,) = journal.write([(1, b"four")]).ready
    assert later > numbers[-1]
    journal.remove()


def test_its_size_is_that_of_what_it_has(path):
    journal = Journal(path)
    empty = journal.size_bytes
    journal.write([(1, b"x" * 100_000)])
    assert 90_000 < journal.size_bytes - empty < 110_000
    journal.clear()
    assert journal.size_bytes == empty
    journal.remove()


def test_the_journal_of_a_newer_version_is_left_as_it_is(path):
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 3")
    before = path.read_bytes()
    with pytest.raises(JournalError, match="a newer version of tracelet-otel has written it"):
        Journal(path)
    assert path.read_bytes() == before


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
journal.write([(1, b"kept")])
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    journal = Journal(path)
    assert rows_of(journal) == [b"kept"]
    journal.remove()


def test_it_is_open_once_at_a_time(path):
    journal = Journal(path)
    with pytest.raises(JournalInUseError, match="in use by this process"):
        Journal(path)
    # The second attempt has not dropped the lock of the first.
    script = f"from pathlib import Path; from tracelet_otel.relay.journal import Journal; Journal(Path({str(path)!r}))"
    other = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert "in use by another process" in other.stderr
    journal.close()
    Journal(path).remove()


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
    journal.write([(1, b"kept")])
    assert rows_of(journal) == [b"kept"]
    journal.remove()


def test_what_does_not_get_on_the_disk_is_said_and_leaves_the_rest_as_it_was(path):
    journal = Journal(path)
    journal.write([(1, b"before")], state={"key": "before"})
    with full_disk(), pytest.raises(JournalError, match=r"run\.journal cannot be written: "):
        journal.write([(1, b"lost")], state={"key": "lost"})
    assert rows_of(journal) == [b"before"]
    assert journal.state == {"key": "before"}
    journal.write([(1, b"after")], state={"key": "after"})
    assert rows_of(journal) == [b"before", b"after"]
    assert journal.state == {"key": "after"}
    journal.remove()


def test_a_row_is_not_kept_without_what_is_to_be_remembered_with_it(path):
    journal = Journal(path)
    with pytest.raises(TypeError, match="not JSON serializable"):
        journal.write([(1, b"one")], state={"key": object()})
    assert journal.is_empty
    journal.remove()


READS = {
    "state": lambda journal: journal.state,
    "is empty": lambda journal: journal.is_empty,
    "unmerged": lambda journal: list(journal.unmerged()),
    "next row": lambda journal: journal.next_row(0),
    "oldest rows": lambda journal: journal.oldest_rows(1, 1),
    "readings after": lambda journal: journal.readings_after(0),
    "position": lambda journal: journal.position("mlflow"),
}
WRITES = {
    "write": lambda journal: journal.write([(1, b"one")]),
    "remember": lambda journal: journal.remember({"key": 1}),
    "move": lambda journal: journal.move({"mlflow": Position()}, forget_to=1),
    "clear": lambda journal: journal.clear(),
}
USES = [(use, "read") for use in READS.values()] + [(use, "written") for use in WRITES.values()]


@pytest.mark.parametrize(("use", "how"), USES, ids=[*READS, *WRITES])
def test_a_damaged_file_is_named_whoever_uses_it(path, use, how):
    journal = Journal(path)
    journal.write([(1, b"one")], state={"seen": {}})
    journal.move({"mlflow": Position(delivered=1)})
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


def test_a_forked_child_that_frees_its_copy_takes_no_row_from_its_parent(tmp_path):
    journal = Journal(tmp_path / "run.journal")
    journal.write([(1, b"before")])
    child = os.fork()
    if child == 0:
        vars(journal).clear()
        gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    journal.write([(1, b"after")])
    # What a process that is killed now has left.
    left = tmp_path / "left"
    left.mkdir()
    for path in tmp_path.glob("run.journal*"):
        shutil.copy(path, left)
    journal.close()
    found = Journal(left / "run.journal")
    assert (found.last_row, found.readings_after(0)) == (2, 2)
    found.remove()
