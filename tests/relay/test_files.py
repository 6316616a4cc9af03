"""The files of a run in its relay: what each tracker gets, and what is left of a spool."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import wait_until
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import RefusedError, RunLostError, TrackerUnavailableError
from tracelet_otel.instrumentation.files import Files
from tracelet_otel.instrumentation.spool import SpoolWriter
from tracelet_otel.protocol.files import (
    PACKAGES_FILE,
    SUMMARY_FILE,
    UNFINISHED,
    Checkpoint,
    FileKind,
    RunFile,
    entry_names,
)
from tracelet_otel.relay.files import RunFiles
from tracelet_otel.relay.phase import EndedError, TooLateError
from tracelet_otel.relay.spool import Spool

RESOURCE = {semconv.RUN_ID: "r1", semconv.PROJECT_NAME: "p"}


class FileStore:
    """A tracker that takes files, and can be ill."""

    def __init__(self) -> None:
        self.ill: Exception | None = None
        self.cannot_open: Exception | None = None
        self.files: list[tuple[str, bytes | None]] = []
        self.asked = threading.Event()
        self.may_write = threading.Event()
        self.may_write.set()

    def file_writer(self) -> FileStore:
        return self

    def open(self, run: Any) -> None:
        assert run.run_id == "r1"
        self.asked.set()
        if self.cannot_open is not None:
            raise self.cannot_open

    def write(self, file: RunFile, content: Path | None) -> None:
        self.asked.set()
        self.may_write.wait(30)
        if self.ill is not None:
            raise self.ill
        self.files.append((file.name, None if content is None else content.read_bytes()))


class LocalRole:
    """The role of a process whose relay is on this machine."""

    def __init__(self, spool: Path | None, run_id: str = "r1") -> None:
        self.run_id = run_id
        self.spool = spool


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "journals" / "r1.files"


@pytest.fixture
def writer(spool: Path) -> SpoolWriter:
    made = SpoolWriter(spool.parent, Guard())
    made.open(LocalRole(spool))
    return made


@pytest.fixture
def relay(spool: Path) -> Callable[..., RunFiles]:
    def make(*stores: Any, guard: Guard | None = None) -> RunFiles:
        files = RunFiles(spool, guard or Guard())
        files.begin({f"t{number}": store for number, store in enumerate(stores)}, RESOURCE)
        return files

    return make


def texts(writer: SpoolWriter, *names: str) -> None:
    for name in names:
        Files(writer).add_text(name, f"text of {name}", None)


def close(files: RunFiles, *trackers: str, patience_s: float = 10) -> None:
    for tracker in trackers or ("t0", "t1"):
        files.finish(tracker, patience_s)
    files.close()


def test_each_tracker_gets_each_file_in_order_and_the_spool_is_gone(writer, relay, spool):
    one, other = FileStore(), FileStore()
    files = relay(one, other)
    assert not files.pending("t0")
    names = [f"n{number}" for number in range(20)]
    texts(writer, *names)
    close(files)
    assert one.files == other.files == [(name, f"text of {name}".encode()) for name in names]
    assert not spool.exists()


def test_a_file_that_waits_is_pending_until_it_is_taken(writer, relay):
    store = FileStore()
    store.may_write.clear()
    files = relay(store)
    texts(writer, "a")
    files.notice()
    assert store.asked.wait(10)
    assert files.pending("t0")
    store.may_write.set()
    wait_until(lambda: not files.pending("t0"), 10, "the delivery")
    close(files, "t0")


def test_a_tracker_that_is_down_gets_everything_from_the_next_relay_and_no_other_gets_it_twice(writer, relay, spool):
    well, down = FileStore(), FileStore()
    down.ill = TrackerUnavailableError("no answer")
    guard = Guard()
    files = relay(well, down, guard=guard)
    texts(writer, "a", "b")
    close(files, patience_s=0.2)
    assert [name for name, _ in well.files] == ["a", "b"]
    assert len(entry_names(spool)) == 2
    assert any("files were not delivered" in place for place in guard.counts)

    down.ill = None
    close(relay(well, down))
    assert [name for name, _ in well.files] == [name for name, _ in down.files] == ["a", "b"]
    assert not spool.exists()


def test_what_is_refused_is_said_and_the_next_one_follows(writer, relay, spool):
    store, guard = FileStore(), Guard()
    store.ill = RefusedError("too long a name")
    files = relay(store, guard=guard)
    texts(writer, "bad")
    files.notice()
    wait_until(lambda: not files.pending("t0"), 10, "the refusal")
    store.ill = None
    texts(writer, "good")
    close(files, "t0")
    assert [name for name, _ in store.files] == ["good"]
    assert guard.counts == {"t0 has refused a file": 1}
    assert not spool.exists()


def test_a_run_that_is_lost_in_one_tracker_is_none_of_the_other_s(writer, relay, spool):
    lost, well, guard = FileStore(), FileStore(), Guard()
    lost.cannot_open = RunLostError("no such run")
    files = relay(lost, well, guard=guard)
    texts(writer, "a", "b")
    close(files)
    assert [name for name, _ in well.files] == ["a", "b"]
    assert guard.counts == {"t0 has refused a file": 1}
    assert not spool.exists()


def test_where_no_tracker_takes_files_that_is_said(writer, relay, spool):
    guard = Guard()
    files = relay(object(), guard=guard)
    texts(writer, "a", "b")
    close(files, "t0")
    assert guard.counts == {"a file was not recorded": 2}
    assert not spool.exists()


def test_an_entry_that_the_training_takes_back_is_passed_over(writer, relay, spool):
    store, guard = FileStore(), Guard()
    store.may_write.clear()
    files = relay(store, guard=guard)
    texts(writer, "first")
    old = writer.put(RunFile("old", FileKind.CHECKPOINT, 1, checkpoint=Checkpoint("old")))
    writer.put(RunFile("new", FileKind.CHECKPOINT, 2, checkpoint=Checkpoint("new")))
    files.notice()
    assert store.asked.wait(10)
    writer.discard(old)
    store.may_write.set()
    close(files, "t0")
    assert store.files == [("first", b"text of first"), ("new", None)]
    assert guard.counts == {}


def test_a_file_that_somebody_has_removed_is_said_to_be_gone(writer, relay, spool, tmp_path):
    store, guard = FileStore(), Guard()
    texts(writer, "a", "b")
    (spool / entry_names(spool)[0] / "content" / "a.txt").unlink()
    close(relay(store, guard=guard), "t0")
    assert store.files == [("b", b"text of b")]
    assert guard.counts == {"a file was gone before it was recorded": 1}


def test_what_is_no_entry_is_said_and_removed(writer, relay, spool):
    store, guard = FileStore(), Guard()
    texts(writer, "a", "b")
    (spool / entry_names(spool)[0] / "entry.json").write_text("{")
    unfinished = spool / (UNFINISHED + "00000000000000000001-0000000000-1")
    unfinished.mkdir()
    close(relay(store, guard=guard), "t0")
    assert store.files == [("b", b"text of b")]
    assert guard.counts == {"an entry of a spool cannot be read": 1}
    assert not spool.exists()


def test_an_upload_that_goes_on_is_waited_for_longer_than_one_that_does_not_begin(writer, relay, spool, tmp_path):
    store = FileStore()
    store.may_write.clear()
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(2**20)
    files = relay(store)
    Files(writer).add_file(large, None)
    files.notice()
    assert store.asked.wait(10)
    threading.Timer(1.0, store.may_write.set).start()
    close(files, "t0", patience_s=0.1)
    assert [(name, len(content)) for name, content in store.files] == [("large", 2**20)]
    assert not spool.exists()


def own(writer: SpoolWriter, name: str = PACKAGES_FILE) -> None:
    Files(writer).add_own(name, f"text of {name}")


def test_no_file_of_a_users_waits_for_one_of_the_run_s_own_that_is_not_taken(writer, relay):
    class Picky(FileStore):
        def write(self, file: RunFile, content: Path | None) -> None:
            if file.is_own:
                self.asked.set()
                raise TrackerUnavailableError("no artifacts")
            super().write(file, content)

    store, guard = Picky(), Guard()
    own(writer)
    files = relay(store, guard=guard)
    wait_until(store.asked.is_set, 10, "a first attempt")
    texts(writer, "a", "b")
    files.notice()
    wait_until(lambda: len(store.files) == 2, 10, "the files behind it")
    assert [name for name, _ in store.files] == ["a", "b"]
    # It has failed, so the end tries it once more, and waits no longer.
    close(files, "t0", patience_s=300)
    assert not files.pending("t0")
    assert guard.counts["t0 does not have a file that the run has recorded by itself"] == 1


def test_a_disk_that_keeps_no_mark_does_not_keep_a_run_from_its_end(writer, relay, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "the disk is full")

    guard = Guard()
    store = FileStore()
    store.ill = TrackerUnavailableError("away")
    files = relay(store, guard=guard)
    own(writer)
    monkeypatch.setattr(Spool, "mark", full)
    files.finish("t0", 5)
    assert guard.counts["files were not delivered"] == 1
    files.close()


def test_nothing_is_taken_that_would_not_be_delivered(writer, relay, spool):
    files = relay(FileStore())
    assert files.directory == spool
    files.end(has_ended=False, has_failed=False)
    with pytest.raises(EndedError):
        _ = files.directory
    files.end(has_ended=True, has_failed=False)
    with pytest.raises(TooLateError):
        _ = files.directory


def test_what_the_run_records_itself_comes_once_the_tracker_is_there(writer, relay, spool):
    store = FileStore()
    store.cannot_open = TrackerUnavailableError("down")
    own(writer)
    files = relay(store)
    wait_until(store.asked.is_set, 10, "a first attempt")
    store.cannot_open = None
    wait_until(lambda: store.files == [(PACKAGES_FILE, b"text of requirements.txt")], 10, "the file")
    close(files, "t0")
    assert not spool.exists()


def test_a_tracker_that_takes_no_files_says_nothing_of_what_no_user_has_recorded(writer, relay, spool):
    guard = Guard()
    own(writer)
    files = relay(object(), guard=guard)
    files.close()
    assert (guard.counts, spool.exists()) == ({}, False)


def test_a_users_file_of_the_same_name_counts(writer, spool, tmp_path):
    theirs = tmp_path / PACKAGES_FILE
    theirs.write_text("theirs")
    files = Files(writer)
    files.add_file(theirs, None)
    files.add_text(SUMMARY_FILE, "theirs", None)
    for name in (PACKAGES_FILE, SUMMARY_FILE):
        files.add_own(name, "ours")
    assert len(entry_names(spool)) == 2
