"""How a training puts files into the spool of its run."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.disk import full_disk
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.files import Files
from tracelet_otel.instrumentation.spool import SpoolWriter, copied, linked
from tracelet_otel.protocol.files import Checkpoint, FileKind, RunFile, SpoolEntry, entry_names, read_entry
from tracelet_otel.relay.spool import Spool


class FoundLater:
    """The role of a process that finds its run after a while."""

    def __init__(self, spool: Path | None) -> None:
        self.run_id = ""
        self.spool = spool


@pytest.fixture
def journals(tmp_path):
    return tmp_path / "journals"


@pytest.fixture
def guard():
    return Guard()


@pytest.fixture
def role(journals):
    return FoundLater(journals / "r1.files")


@pytest.fixture
def writer(journals, guard, role):
    made = SpoolWriter(journals, guard)
    made.open(role)
    return made


def entries(role) -> list[SpoolEntry]:
    return [read_entry(role.spool / name) for name in entry_names(role.spool)]


def contents(role) -> dict[str, str]:
    return {entry.file.name: entry.content.read_text() for entry in entries(role)}


def test_what_comes_before_the_run_is_found_is_moved_to_its_spool(writer, role, journals):
    files = Files(writer)
    files.add_text("a", "1", None)
    files.add_text("b", "2", 3)
    assert not role.spool.exists()
    assert [folder.name[:7] for folder in journals.iterdir()] == [".files-"]
    role.run_id = "r1"
    files.add_text("c", "3", None)
    assert contents(role) == {"a": "1", "b": "2", "c": "3"}
    assert [folder.name for folder in journals.iterdir()] == ["r1.files"]


def test_what_was_made_for_a_run_that_was_never_found_is_said_and_removed(writer, journals, guard):
    Files(writer).add_text("a", "1", None)
    writer.close()
    assert list(journals.iterdir()) == []
    assert guard.counts == {"files are not recorded": 1}


def test_a_run_without_a_relay_here_takes_no_files_and_that_is_said_once(writer, role, journals, guard, caplog):
    role.spool, role.run_id = None, "r1"
    assert not writer.takes_files
    for _ in range(3):
        Files(writer).add_text("a", "1", None)
    assert guard.counts == {"files are not recorded": 3}
    assert caplog.text.count("no relay that takes files") == 1
    assert not journals.exists()


def test_a_fact_without_a_file_needs_no_relay_and_nothing_is_said(writer, role, guard):
    role.spool, role.run_id = None, "r1"
    assert writer.put(RunFile("a", FileKind.CHECKPOINT, 1, checkpoint=Checkpoint("a"))) is None
    assert guard.counts == {}


def test_a_copy_may_be_changed_and_removed_at_once(writer, role, tmp_path):
    role.run_id = "r1"
    source = tmp_path / "a.txt"
    source.write_text("first")
    Files(writer).add_file(source, None)
    source.write_text("second")
    Files(writer).add_file(source, "again/b.txt")
    source.unlink()
    assert contents(role) == {"a.txt": "first", "again/b.txt": "second"}
    assert [entry.file.size for entry in entries(role)] == [5, 6]


def test_a_directory_is_copied_with_all_that_is_a_file(writer, role, tmp_path):
    role.run_id = "r1"
    folder = tmp_path / "folder"
    (folder / "deep" / "empty").mkdir(parents=True)
    (folder / "deep" / "b.txt").write_text("b")
    (folder / "a.txt").write_text("a")
    (folder / "to a").symlink_to("a.txt")
    (folder / "to nothing").symlink_to("nothing")
    (folder / "circle").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    Files(writer).add_file(folder, "x/y")
    (entry,) = entries(role)
    found = {str(file.relative_to(entry.content)): file.read_text() for file in entry.content.rglob("*.*")}
    assert found == {"a.txt": "a", "deep/b.txt": "b"}
    assert (entry.content / "to a").read_text() == "a"
    assert not (entry.content / "to a").is_symlink()
    assert {file.name for file in entry.content.iterdir()} == {"a.txt", "deep", "to a"}


def test_a_directory_that_has_the_spool_in_it_is_copied_without_that(writer, role, journals):
    role.run_id = "r1"
    (journals.parent / "a.txt").write_text("a")
    Files(writer).add_text("before", "1", None)
    Files(writer).add_file(journals.parent, "all")
    entry = entries(role)[-1]
    assert {file.name for file in entry.content.rglob("*")} == {"a.txt", "journals"}


@pytest.mark.parametrize("name", ["entry.json", ".done-mlflow", ".begun-wandb", ".joined", ".part-a"])
def test_no_name_of_a_file_is_that_of_what_else_an_entry_has(writer, role, tmp_path, name):
    role.run_id = "r1"
    (tmp_path / name).write_text("theirs")
    Files(writer).add_file(tmp_path / name, None)
    assert contents(role) == {name: "theirs"}
    assert not Spool(role.spool).is_done(entry_names(role.spool)[0], "mlflow")


def test_a_table_may_have_the_name_of_an_entry(writer, role):
    role.run_id = "r1"
    Files(writer).add_table("entry", ["a"], [[1]], None)
    assert contents(role) == {"entry": '{"columns": ["a"], "data": [[1]]}'}


def test_a_large_file_is_linked_and_takes_no_room(writer, role, tmp_path):
    role.run_id = "r1"
    source = tmp_path / "large"
    with source.open("wb") as file:
        file.truncate(2**31)
    began = source.stat().st_nlink
    Files(writer).add_file(source, None)
    (entry,) = entries(role)
    assert (entry.content.stat().st_size, source.stat().st_nlink) == (2**31, began + 1)


def test_what_is_copied_leaves_room_on_the_disk_and_what_is_linked_needs_none(writer, role, tmp_path, monkeypatch):
    role.run_id = "r1"
    source = tmp_path / "large"
    with source.open("wb") as file:
        file.truncate(2**31)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2**29))
    Files(writer).add_file(source, None)
    (tmp_path / "small").write_text("x")
    with pytest.raises(OSError, match="are left free"):
        Files(writer).add_file(tmp_path / "small", None)
    assert [entry.file.name for entry in entries(role)] == ["large"]


@pytest.mark.parametrize("missing", ["nothing", "pipe"])
def test_what_is_no_file_is_told(writer, role, tmp_path, missing):
    role.run_id = "r1"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match="there is no file and no directory"):
        Files(writer).add_file(tmp_path / missing, None)
    assert not role.spool.exists() or list(role.spool.iterdir()) == []


def test_a_checkpoint_is_linked_and_outlives_its_removal(tmp_path):
    source = tmp_path / "a.ckpt"
    source.write_text("weights")
    linked(source)(tmp_path / "link")
    source.unlink()
    assert (tmp_path / "link").read_text() == "weights"


@pytest.fixture
def other_file_system(tmp_path):
    path = Path("/dev/shm") / f"tracelet-test-{os.getpid()}-{threading.get_ident()}"
    path.write_text("weights")
    assert path.stat().st_dev != tmp_path.stat().st_dev
    yield path
    path.unlink()


def test_a_checkpoint_on_another_file_system_is_referred_to(tmp_path, other_file_system):
    linked(other_file_system)(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_text() == "weights"


def test_a_large_file_on_another_file_system_is_copied(tmp_path, other_file_system):
    copied(other_file_system, longest_copy=3)(tmp_path / "copy")
    assert not (tmp_path / "copy").is_symlink()
    assert (tmp_path / "copy").read_text() == "weights"


def test_a_disk_that_is_full_leaves_no_half_of_an_entry(writer, role, tmp_path):
    role.run_id = "r1"
    source = tmp_path / "a.txt"
    source.write_text("a" * 1000)
    Files(writer).add_text("before", "1", None)
    with full_disk(), pytest.raises(OSError, match="File too large"):
        Files(writer).add_file(source, None)
    Files(writer).add_text("after", "2", None)
    assert contents(role) == {"before": "1", "after": "2"}
    assert len(list(role.spool.iterdir())) == 2


def test_what_cannot_be_made_leaves_nothing(writer, role):
    role.run_id = "r1"
    with pytest.raises(TypeError, match="no text"):
        Files(writer).add_text("a", 1, None)
    with pytest.raises(ValueError, match="columns"):
        Files(writer).add_table("a", ["x"], [[1, 2]], None)
    assert not role.spool.exists() or list(role.spool.iterdir()) == []


def test_what_is_taken_back_is_at_no_time_a_half(writer, role, monkeypatch):
    """A relay that reads it meanwhile would say that somebody has removed its file."""
    role.run_id = "r1"
    seen = []
    remove = shutil.rmtree

    def look(path, **options):
        seen.append(entry_names(role.spool))
        remove(path, **options)

    name = writer.put(RunFile("a", FileKind.TEXT, 1, "a.txt"), lambda target: target.write_text("x"))
    monkeypatch.setattr(shutil, "rmtree", look)
    writer.discard(name)
    assert seen == [[]]
    assert list(role.spool.iterdir()) == []


def test_many_threads_put_files_at_once(writer, role):
    role.run_id = "r1"
    files = Files(writer)
    threads = [
        threading.Thread(target=lambda number=number: [files.add_text(f"{number}/{n}", "x", n) for n in range(50)])
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {entry.file.name for entry in entries(role)} == {f"{number}/{n}" for number in range(8) for n in range(50)}


def test_a_forked_child_puts_nothing(writer, role):
    role.run_id = "r1"
    child = os.fork()
    if child == 0:
        made = writer.put(RunFile("a", FileKind.TEXT, 1, "a.txt"), lambda target: target.write_text("x"))
        os._exit(made is not None)
    assert os.waitpid(child, 0)[1] == 0
    assert not role.spool.exists()
