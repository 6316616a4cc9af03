"""A file that a tracker never takes, as it would where the tracker is away."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import wait_until
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import TrackerUnavailableError
from tracelet_otel.protocol.files import FileKind, RunFile, entry_names, put_entry
from tracelet_otel.relay import misses
from tracelet_otel.relay.files import RunFiles

KEPT = "t does not take a file, but others; it is kept and sent again"
AWAY = "t takes no files; they are kept and sent again"
REFUSED = "t has refused a file"


class Store:
    """A tracker that takes files, but not all."""

    def __init__(self, *bad: str) -> None:
        self.bad = set(bad)
        self.tries = 0
        self.taken: list[str] = []

    def file_writer(self) -> Store:
        return self

    def open(self, run: Any) -> None:
        pass

    def write(self, file: RunFile, content: Path | None) -> None:
        assert content is not None
        if file.name in self.bad:
            self.tries += 1
            raise TrackerUnavailableError("HTTP 500")
        self.taken.append(content.read_text())


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    made = tmp_path / "r1.files"
    made.mkdir()
    return made


def begun(spool: Path, store: Store, guard: Guard) -> RunFiles:
    files = RunFiles(spool, guard)
    files.begin({"t": store}, {semconv.RUN_ID: "r1"})
    return files


def put(spool: Path, *entries: tuple[str, str]) -> None:
    for name, text in entries:
        put_entry(spool, RunFile(name, FileKind.TEXT, 1, "a.txt"), lambda path, text=text: path.write_text(text))


def test_files_go_on_behind_one_that_is_not_taken_which_comes_later_in_its_order(spool):
    store, guard = Store("bad"), Guard()
    put(spool, ("a", "a"), ("bad", "first"), ("b", "b"), ("bad", "last"), ("c", "c"))
    files = begun(spool, store, guard)
    wait_until(lambda: store.tries >= 2, 10, "another attempt")
    assert store.taken == ["a", "b", "c"]
    store.bad.clear()
    files.finish("t", 10)
    files.close()
    assert store.taken == ["a", "b", "c", "first", "last"]
    assert not spool.exists()
    assert guard.counts.keys() == {AWAY, KEPT}


def test_what_is_never_taken_is_given_up_said_once_and_counted(spool, caplog, monkeypatch):
    monkeypatch.setattr(misses, "_TRIES", 3)
    store, guard = Store("bad"), Guard()
    put(spool, ("bad", "bad"), ("a", "a"), ("b", "b"))
    files = begun(spool, store, guard)
    with caplog.at_level(logging.WARNING):
        files.finish("t", 60)
        files.close()
    assert store.taken == ["a", "b"]
    assert not spool.exists()
    assert files.refused("t") == 1
    assert (store.tries, guard.counts) == (4, {AWAY: 1, KEPT: 3, REFUSED: 1})
    assert caplog.text.count("t has refused a file: 'bad' 4 times, while it took others: HTTP 500") == 1


def test_where_nothing_is_taken_nothing_is_given_up(spool, monkeypatch):
    monkeypatch.setattr(misses, "_TRIES", 1)
    store, guard = Store("a", "b"), Guard()
    put(spool, ("a", "a"), ("b", "b"))
    files = begun(spool, store, guard)
    wait_until(lambda: store.tries >= 4, 30, "several attempts")
    files.finish("t", 0.1)
    files.close()
    assert len(entry_names(spool)) == 2
    assert guard.counts.keys() == {AWAY, "files were not delivered"}


def test_nothing_is_said_where_a_run_is_there_later_than_its_first_file(spool):
    class Later(Store):
        def open(self, run: Any) -> None:
            self.tries += 1
            if self.tries < 3:
                raise TrackerUnavailableError("the run is not there yet")

    store, guard = Later(), Guard()
    put(spool, ("a", "a"))
    files = begun(spool, store, guard)
    files.finish("t", 10)
    files.close()
    assert (store.taken, guard.counts) == (["a"], {})
