from __future__ import annotations

import pytest

from tracelet_otel.protocol.files import Checkpoint, FileKind, RunFile
from tracelet_otel.relay import misses
from tracelet_otel.relay.misses import Misses

TEXT, OTHER = RunFile("a", FileKind.TEXT, 1, "a.txt"), RunFile("b", FileKind.TEXT, 2, "b.txt")
IMAGE = RunFile("c", FileKind.IMAGE, 3, "c.png")


def checkpoint(path: str, content: str | None = "x.ckpt", **facts: bool) -> RunFile:
    return RunFile(path, FileKind.CHECKPOINT, 1, content, checkpoint=Checkpoint(path, keeper=0, **facts))


def tried(found: Misses, name: str, file: RunFile, times: int) -> bool:
    """Whether an entry is not tried any more, once it was tried so often and was not taken."""
    for _ in range(times):
        found.add(name, file, "HTTP 500")
    return found.refused(name) is not None


def next_of(found: Misses, files: dict[str, RunFile]) -> str:
    return found.next_of(sorted(files), files.get)


def test_where_a_tracker_takes_nothing_no_file_is_to_blame():
    found = Misses()
    assert not tried(found, "1", TEXT, 1000)


def test_a_file_is_refused_that_was_tried_often_while_the_tracker_took_others(monkeypatch):
    monkeypatch.setattr(misses, "_TRIES", 5)
    found = Misses()
    assert not tried(found, "1", TEXT, 3)
    found.taken("2", OTHER)
    assert not tried(found, "1", TEXT, 4)
    assert tried(found, "1", TEXT, 1)


@pytest.mark.parametrize("other", [IMAGE, RunFile("b", FileKind.TEXT, 2)])
def test_what_may_go_to_another_place_tells_nothing_of_a_file(other):
    found = Misses()
    tried(found, "1", TEXT, 1)
    found.taken("2", other)
    assert not tried(found, "1", TEXT, 1000)


def test_no_try_counts_while_the_tracker_may_be_away(monkeypatch):
    monkeypatch.setattr(misses, "_TRIES", 3)
    found = Misses()
    tried(found, "1", TEXT, 1)
    found.taken("2", OTHER)
    # Another one is not taken, of which nothing is known.
    tried(found, "3", OTHER, 1)
    assert not tried(found, "1", TEXT, 1000)
    found.taken("3", OTHER)
    assert tried(found, "1", TEXT, 3)


def test_pauses_grow_and_have_a_bound():
    found = Misses()
    tried(found, "1", TEXT, 1)
    found.taken("2", OTHER)
    assert [found.add("1", TEXT, "").pause_s for _ in range(9)] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_others_come_first_and_then_what_was_tried_least_often():
    found, files = Misses(), {"1": TEXT, "2": OTHER, "3": IMAGE}
    assert next_of(found, files) == "1"
    tried(found, "1", TEXT, 2)
    assert next_of(found, files) == "2"
    tried(found, "2", OTHER, 1)
    assert (next_of(found, files), found.has_fresh(sorted(files), files.get)) == ("3", True)
    tried(found, "3", IMAGE, 3)
    assert (next_of(found, files), found.has_fresh(sorted(files), files.get)) == ("2", False)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (TEXT, TEXT),
        (checkpoint("/a"), checkpoint("/a", is_best=True)),
        (checkpoint("/a"), checkpoint("/a", None, is_removed=True)),
        (RunFile("console.log", FileKind.CONSOLE, 1, "lines"), RunFile("console.log", FileKind.CONSOLE, 2, "lines")),
    ],
)
def test_what_goes_to_the_same_place_keeps_its_order(older, newer):
    found, files = Misses(), {"1": older, "2": newer, "3": IMAGE}
    tried(found, "1", older, 1)
    assert next_of(found, files) == "3"
    assert next_of(found, {"1": older, "2": newer}) == "1"
    found.taken("1", older)
    assert next_of(found, {"2": newer}) == "2"


def test_a_checkpoint_that_comes_late_is_not_the_best_or_the_last_where_a_later_one_is():
    found = Misses()
    late, other = checkpoint("/a", is_best=True, is_last=True, is_top_k=True), checkpoint("/b", is_best=True)
    tried(found, "1", late, 1)
    assert found.as_it_is_now("1", late) == late
    found.taken("2", checkpoint("/b", is_best=True))
    assert found.as_it_is_now("1", late) == checkpoint("/a", is_last=True, is_top_k=True)
    found.taken("3", checkpoint("/c", is_last=True))
    assert found.as_it_is_now("1", late) == checkpoint("/a", is_top_k=True)
    assert found.as_it_is_now("4", other) == other
