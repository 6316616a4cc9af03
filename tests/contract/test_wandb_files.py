"""Files of a run in W&B: what is left of them where processes die, and what `wandb sync` finds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.contract.backends import WandbOffline, WandbOnline
from tests.support.waiting import wait_until
from tests.support.wandb_files import offline_files
from tests.support.wandb_stored import files_of_online_run
from tracelet_otel import semconv
from tracelet_otel._support.child_environment import child_environment
from tracelet_otel._support.environment import environment
from tracelet_otel.errors import RefusedError, TrackerUnavailableError
from tracelet_otel.exporters.registry import delivering_environment
from tracelet_otel.protocol.files import Checkpoint, FileKind, RunFile
from tracelet_otel.testing import reading

SCRIPT = Path(__file__).parent / "scripts" / "rows_beside_an_upload.py"
TIME_NS = 1_700_000_000_000_000_000


@pytest.fixture
def offline(tmp_path):
    made = WandbOffline(tmp_path)
    yield made
    for tracker in made.opened:
        tracker.end()


@pytest.fixture
def online(wandb_server):
    made = WandbOnline(wandb_server)
    yield made
    for tracker in made.opened:
        tracker.end()


def text(directory, step):
    content = directory / f"{step:08d}.txt"
    content.write_text(f"text {step}")
    return RunFile("my text", FileKind.TEXT, TIME_NS + 1_000_000_000 * step, content.name, step=step), content


def table(directory, step):
    content = directory / f"{step:08d}.json"
    content.write_text(json.dumps({"columns": ["a"], "data": [[step]]}))
    return RunFile("my table", FileKind.TABLE, TIME_NS + 1_000_000_000 * step, content.name, step=step), content


def plain(directory, name):
    content = directory / "entry" / name
    content.parent.mkdir(exist_ok=True)
    content.write_text(name)
    return RunFile(name, FileKind.FILE, TIME_NS, name), content


def checkpoint(directory, step):
    content = directory / f"step={step}.ckpt"
    content.write_bytes(b"%d" % step * 100)
    facts = Checkpoint(f"/scratch/{content.name}", epoch=0, monitor="loss", score=0.5, mode="min", is_last=True)
    return RunFile(content.name, FileKind.CHECKPOINT, TIME_NS, content.name, 100, step, facts), content


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 10, "the death")


def core_of(tracker):
    children = psutil.Process(tracker.process.pid).children(recursive=True)
    (found,) = [child for child in children if "wandb-core" in child.name()]
    return found


def again(write):
    """Call until it can be done, as a relay does it."""
    for _ in range(10):
        try:
            write()
        except TrackerUnavailableError:
            continue
        return
    raise AssertionError("it could not be done")


@pytest.mark.parametrize("place", ["offline", pytest.param("online", marks=pytest.mark.slow)])
@pytest.mark.parametrize("killed", ["its core", "its process"])
def test_files_are_there_once_where_processes_die(request, identity, tmp_path, place, killed):
    backend = request.getfixturevalue(place)
    tracker = backend.tracker()
    tracker.open(identity)
    writer = tracker.file_writer()
    before, after = reading("loss", 1.0, 1, TIME_NS // 1_000_000), reading("loss", 2.0, 2, TIME_NS // 1_000_000 + 1)
    tracker.log_readings([before])
    entries = [plain(tmp_path, "first.txt"), text(tmp_path, 1), table(tmp_path, 2), checkpoint(tmp_path, 1)]
    for entry in entries:
        writer.write(*entry)
    kill(core_of(tracker) if killed == "its core" else psutil.Process(tracker.process.pid))
    # A relay may not know yet that its last entry was taken.
    entries += [text(tmp_path, 3), plain(tmp_path, "last.txt")]
    for entry in (entries[2], *entries[4:]):
        again(lambda entry=entry: writer.write(*entry))
    again(lambda: tracker.log_readings([after]))
    tracker.close(semconv.OUTCOME_FINISHED)
    found = backend.stored_files(identity.run_id)
    assert found.files == {"first.txt": b"first.txt", "last.txt": b"last.txt"}
    assert found.media == {
        ("text", "my text", 1): "text 1",
        ("table", "my table", 2): {"columns": ["a"], "data": [[2]]},
        ("text", "my text", 3): "text 3",
    }
    assert found.checkpoints["step=1.ckpt"].content == b"1" * 100


@pytest.mark.slow
def test_a_run_that_was_uploaded_is_not_uploaded_again(online, identity, tmp_path):
    for name in ("first.txt", "second.txt"):
        tracker = online.tracker()
        tracker.open(identity)
        tracker.file_writer().write(*plain(tmp_path, name))
        tracker.close(semconv.OUTCOME_FINISHED)
        assert online.stored_files(identity.run_id).files == {name: name.encode()}
        online.server.runs[identity.run_id].files.clear()


def test_wandb_sync_uploads_the_files_of_an_offline_run(offline, wandb_server, identity, tmp_path):
    tracker = offline.tracker()
    tracker.open(identity)
    writer = tracker.file_writer()
    for file, content in [
        plain(tmp_path, "größe [1].txt"),
        text(tmp_path, 1),
        table(tmp_path, 2),
        checkpoint(tmp_path, 1),
    ]:
        writer.write(file, content)
        # What is in the spool goes away.
        content.unlink()
    tracker.close(semconv.OUTCOME_FINISHED)
    (path,) = {path.resolve() for path in offline_files(tmp_path / "wandb", identity.run_id)}
    variables = {**os.environ, "WANDB_BASE_URL": wandb_server.uri, "WANDB_API_KEY": wandb_server.api_key}
    subprocess.run([sys.executable, "-m", "wandb", "sync", str(path.parent)], env=variables, check=True, timeout=60)
    found = files_of_online_run(wandb_server, identity.run_id)
    assert found == offline.stored_files(identity.run_id)
    assert len(found.media) == 2


def test_what_cannot_be_stored_is_refused(offline, identity, tmp_path):
    tracker = offline.tracker()
    tracker.open(identity)
    writer = tracker.file_writer()
    file, content = plain(tmp_path, "first")
    writer.write(file, content)
    for name in ("first/in a file", "x" * 300):
        with pytest.raises(RefusedError, match="there can be no file"):
            writer.write(RunFile(name, FileKind.FILE, TIME_NS, content.name), content)
    with pytest.raises(RefusedError, match="W&B cannot show 'no image'"):
        writer.write(RunFile("no image", FileKind.IMAGE, TIME_NS, content.name), content)
    sharded = tmp_path / "step=9.ckpt"
    sharded.mkdir()
    (sharded / "shard").symlink_to(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        writer.write(replace(checkpoint(tmp_path, 8)[0], content=sharded.name), sharded)
    # Where W&B has a file of its own, that of a user's is beside it.
    writer.write(RunFile("config.yaml", FileKind.FILE, TIME_NS, content.name), content)
    tracker.close(semconv.OUTCOME_FINISHED)
    found = offline.stored_files(identity.run_id).files
    assert found == {"first": b"first", "artifacts/config.yaml": b"first"}


@pytest.mark.slow
@pytest.mark.parametrize(("status", "error"), [(403, RefusedError), (409, TrackerUnavailableError)])
def test_a_checkpoint_that_a_server_refuses(online, identity, tmp_path, status, error):
    tracker = online.tracker()
    tracker.open(identity)
    online.server.artifacts.refusal = status
    with pytest.raises(error, match="no room"):
        tracker.file_writer().write(*checkpoint(tmp_path, 1))


@pytest.mark.slow
def test_rows_go_on_while_a_checkpoint_is_uploaded(wandb_server, tmp_path):
    command = [sys.executable, str(SCRIPT), wandb_server.uri, wandb_server.api_key, str(tmp_path)]
    variables = child_environment(environment(), sys.path, *delivering_environment())
    with subprocess.Popen(
        command, env=variables, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "the run has not begun in W&B\n"
        wait_until(lambda: "beside" in wandb_server.runs, 60, "the run")
        wandb_server.ill = "hangs"
        print(file=child.stdin, flush=True)
        assert child.stdout.readline() == "rows are logged True\n"
        wandb_server.ill = None
        wandb_server.well_again.set()
        print(file=child.stdin, flush=True)
        assert child.stdout.read() == "the run is closed in W&B\n"
    (version,) = wandb_server.artifacts.collections["model-beside"]
    assert version.files == {"last.ckpt": b"weights"}
    assert [row["loss"] for row in wandb_server.runs["beside"].history] == [1.0] * 5
