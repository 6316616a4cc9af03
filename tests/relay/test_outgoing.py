"""Files on their way to a relay on another machine: each is there before that relay is told of the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.files import Files
from tracelet_otel.instrumentation.spool import SpoolWriter
from tracelet_otel.protocol.files import entry_names
from tracelet_otel.session.calls import Address
from tracelet_otel.session.outgoing import OutgoingFiles, RelayFiles
from tracelet_otel.session.session import Session
from tracelet_otel.settings import load


class FoundLate:
    """The role of a rank that finds its run when the test says so."""

    def __init__(self, spool: Path) -> None:
        self.run_id = ""
        self.spool = spool
        self.file_relay = lambda: Address("http://127.0.0.1:1", "")
        self.on_found: Callable[[], object] = lambda: None

    def when_found(self, call: Callable[[], object]) -> None:
        self.on_found = call
        call()


class Recorded:
    """What a process records: files only."""

    owns_run = False
    tracing = None

    def __init__(self, spool: SpoolWriter) -> None:
        self.spool = spool
        self.events = self

    def add_exporter(self, exporter: object) -> None:
        pass


@pytest.fixture
def writer(tmp_path):
    return SpoolWriter(tmp_path, Guard())


@pytest.fixture
def role(tmp_path):
    return FoundLate(tmp_path / "r1.files")


@pytest.fixture
def session(role, writer, monkeypatch):
    made = Session(load({}, {}), role, Guard())
    monkeypatch.setattr(made._beside, "open", lambda *_: None)
    made.send(None, Recorded(writer))
    return made


def test_a_rank_that_finds_its_run_at_its_end_sends_its_files_before_anything_else(session, role, writer, monkeypatch):
    written: list[str] = []
    is_found = threading.Event()

    def write(_, file, content):
        is_found.wait(0.5)
        written.append(file.name)

    monkeypatch.setattr(RelayFiles, "write", write)
    Files(writer).add_text("a", "text", None)
    session.send_files()
    role.run_id = "r1"
    role.on_found()
    # The exporter begins to send once this has returned, and the relay may close the run.
    assert written == ["a"]
    is_found.set()


def test_many_threads_that_have_files_make_one_sender(session, role, writer, monkeypatch):
    made: list[OutgoingFiles] = []
    begin = threading.Barrier(8)
    first = OutgoingFiles.__init__

    def slow(self, *arguments):
        made.append(self)
        threading.Event().wait(0.1)
        first(self, *arguments)

    def notice():
        begin.wait()
        session._notice_files()

    monkeypatch.setattr(OutgoingFiles, "__init__", slow)
    role.run_id = "r1"
    threads = [threading.Thread(target=notice) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(made) == 1


def test_what_cannot_be_sent_is_waited_for_and_said_once(writer, role):
    role.run_id = "r1"
    writer.open(role)
    Files(writer).add_text("a", "text", None)
    guard = Guard()
    outgoing = OutgoingFiles(role.spool, "r1", role.file_relay, guard)
    for _ in range(2):
        outgoing.finish(0.5)
    assert guard.counts["files were not delivered"] == 1
    assert len(entry_names(role.spool)) == 1
