"""Entries of a spool that a test gives to W&B, and the deaths of the processes that take them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.support.tracker_process import TrackerProcess
from tests.support.waiting import wait_until
from tracelet_otel.errors import TrackerUnavailableError
from tracelet_otel.protocol.files import Checkpoint, FileKind, RunFile

TIME_NS = 1_700_000_000_000_000_000


def text(directory: Path, step: int) -> tuple[RunFile, Path]:
    content = directory / f"{step:08d}.txt"
    content.write_text(f"text {step}")
    return RunFile("my text", FileKind.TEXT, TIME_NS + 1_000_000_000 * step, content.name, step=step), content


def table(directory: Path, step: int) -> tuple[RunFile, Path]:
    content = directory / f"{step:08d}.json"
    content.write_text(json.dumps({"columns": ["a"], "data": [[step]]}))
    return RunFile("my table", FileKind.TABLE, TIME_NS + 1_000_000_000 * step, content.name, step=step), content


def plain(directory: Path, name: str) -> tuple[RunFile, Path]:
    content = directory / "entry" / name
    content.parent.mkdir(exist_ok=True)
    content.write_text(name)
    return RunFile(name, FileKind.FILE, TIME_NS, name), content


def checkpoint(directory: Path, step: int) -> tuple[RunFile, Path]:
    content = directory / f"step={step}.ckpt"
    content.write_bytes(b"%d" % step * 100)
    facts = Checkpoint(f"/scratch/{content.name}", epoch=0, monitor="loss", score=0.5, mode="min", is_last=True)
    return RunFile(content.name, FileKind.CHECKPOINT, TIME_NS, content.name, 100, step, facts), content


def kill(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 10, "the death")


def core_of(tracker: TrackerProcess) -> psutil.Process:
    assert tracker.process is not None
    children = psutil.Process(tracker.process.pid).children(recursive=True)
    (found,) = [child for child in children if "wandb-core" in child.name()]
    return found


def again(write: Callable[[], object]) -> None:
    """Call until it can be done, as a relay does it."""
    for _ in range(10):
        try:
            write()
        except TrackerUnavailableError:
            continue
        return
    raise AssertionError("it could not be done")
