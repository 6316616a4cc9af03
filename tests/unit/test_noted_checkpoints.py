"""Checkpoints as they were noted become events and entries in their order, whoever passes them on."""

from __future__ import annotations

import threading

from tests.support.sdk import provider
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.checkpoints import ALL, CheckpointNote, Checkpoints
from tracelet_otel.instrumentation.spool import SpoolWriter
from tracelet_otel.protocol.files import entry_names, read_entry

PATIENCE_S = 20


class Slow:
    """Events whose first one is passed on when a second thread is at work, or has ended."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.has_begun, self.may_go_on = threading.Event(), threading.Event()

    def emit(self, event) -> None:
        if not self.has_begun.is_set():
            self.has_begun.set()
            self.may_go_on.wait(PATIENCE_S)
        self.names.append(event.name)


class Here:
    run_id = "r1"

    def __init__(self, spool) -> None:
        self.spool = spool


def test_a_file_that_is_removed_while_it_is_passed_on_does_not_stay(tmp_path):
    events, guard = Slow(), Guard()
    spool = SpoolWriter(tmp_path, guard)
    spool.open(Here(tmp_path / "r1.files"))
    made = Checkpoints(provider(), guard, events, spool, ALL)
    path = tmp_path / "a.ckpt"
    path.write_text("weights")
    made.notes.append(CheckpointNote(str(path), 1))
    first = threading.Thread(target=made.take)
    first.start()
    assert events.has_begun.wait(PATIENCE_S)
    made.notes.append(CheckpointNote(str(path), 2, is_removed=True))
    second = threading.Thread(target=made.take)
    second.start()
    second.join(0.2)  # it may end here only where nothing waits for the first one
    events.may_go_on.set()
    for thread in (first, second):
        thread.join(PATIENCE_S)
    assert events.names == [semconv.EVENT_CHECKPOINT_SAVED, semconv.EVENT_CHECKPOINT_REMOVED]
    (left,) = [read_entry(tmp_path / "r1.files" / name) for name in entry_names(tmp_path / "r1.files")]
    assert left.file.checkpoint.is_removed
    assert guard.counts == {}
