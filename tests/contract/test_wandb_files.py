"""Files of a run in W&B: what is left of them where processes die, and what `wandb sync` finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import wait_until
from tests.support.wandb_entries import TIME_NS, again, checkpoint, core_of, kill, plain, table, text
from tests.support.wandb_files import offline_files
from tests.support.wandb_stored import files_of_online_run
from tracelet_otel import semconv
from tracelet_otel._support.child_environment import child_environment
from tracelet_otel._support.environment import environment
from tracelet_otel.errors import RefusedError, TrackerUnavailableError
from tracelet_otel.exporters.registry import delivering_environment
from tracelet_otel.protocol.files import FileKind, RunFile
from tracelet_otel.testing import reading

SCRIPT = Path(__file__).parent / "scripts" / "rows_beside_an_upload.py"


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


def sync(server, directory, identity):
    (path,) = {path.resolve() for path in offline_files(directory / "wandb", identity.run_id)}
    variables = {**os.environ, "WANDB_BASE_URL": server.uri, "WANDB_API_KEY": server.api_key}
    subprocess.run([sys.executable, "-m", "wandb", "sync", str(path.parent)], env=variables, check=True, timeout=60)


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
    sync(wandb_server, tmp_path, identity)
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


OF_A_RUN = {
    semconv.PROCESS_COMMAND: "src/train.py",
    semconv.PROCESS_COMMAND_ARGS: ("src/train.py", "ours", "20"),
    semconv.PROCESS_WORKING_DIRECTORY: "/home/ada/work",
    semconv.PROCESS_EXECUTABLE_PATH: "/venv/bin/python",
    semconv.PROCESS_RUNTIME_NAME: "cpython",
    semconv.PROCESS_RUNTIME_VERSION: "3.12.1",
    semconv.HOST_NAME: "node7",
    semconv.HOST_CPU_COUNT: 4,
    semconv.HOST_CPU_LOGICAL_COUNT: 8,
    semconv.HOST_MEMORY_SIZE: 2**36,
    semconv.OS_TYPE: "linux",
    semconv.OS_VERSION: "6.1",
    semconv.VCS_REVISION: "abc",
    semconv.VCS_REPOSITORY_URL: "https://git.local/org/repo",
    semconv.GPU_MODELS: ("NVIDIA H200", "NVIDIA H200"),
    semconv.SLURM_JOB_ID: "7",
}
METADATA = {
    "os": "Linux-6.1",
    "python": "CPython 3.12.1",
    "args": ["ours", "20"],
    "program": "/home/ada/work/src/train.py",
    "codePath": "src/train.py",
    "codePathLocal": "src/train.py",
    "git": {"remote": "https://git.local/org/repo", "commit": "abc"},
    "root": "/home/ada/work",
    "host": "node7",
    "username": "ada",
    "executable": "/venv/bin/python",
    "cpu_count": 4,
    "cpu_count_logical": 8,
    "gpu": "NVIDIA H200",
    "gpu_count": 2,
    "memory": {"total": str(2**36)},
    "cpu": {"count": 4, "countLogical": 8},
    "gpu_nvidia": [{"name": "NVIDIA H200"}, {"name": "NVIDIA H200"}],
    "slurm": {"job_id": "7"},
}


def without_times(metadata):
    return {name: value for name, value in metadata.items() if name not in ("startedAt", "writerId")}


def test_a_server_has_where_the_run_has_run_and_what_was_installed(online, identity, tmp_path):
    identity = replace(identity, attributes={**identity.attributes, **OF_A_RUN})
    tracker = online.tracker()
    tracker.open(identity)
    writer = tracker.file_writer()
    writer.open(identity)
    theirs, ours = tmp_path / "theirs", tmp_path / "requirements.txt"
    theirs.write_text("theirs")
    ours.write_text("a==1\n")
    writer.write(RunFile("requirements.txt", FileKind.FILE, TIME_NS, "theirs"), theirs)
    writer.write(RunFile("requirements.txt", FileKind.FILE, TIME_NS, "requirements.txt", is_own=True), ours)
    tracker.close(semconv.OUTCOME_FINISHED)
    files = online.server.runs[identity.run_id].files
    assert files["requirements.txt"] == b"a==1\n"
    assert files["artifacts/requirements.txt"] == b"theirs"
    assert without_times(json.loads(files["wandb-metadata.json"])) == METADATA


def test_wandb_sync_uploads_where_an_offline_run_has_run(offline, identity, wandb_server, tmp_path):
    identity = replace(identity, attributes={**identity.attributes, **OF_A_RUN})
    tracker = offline.tracker()
    tracker.open(identity)
    tracker.log_readings([reading("loss", 1.0)])
    tracker.close(semconv.OUTCOME_FINISHED)
    sync(wandb_server, tmp_path, identity)
    found = json.loads(wandb_server.runs[identity.run_id].files["wandb-metadata.json"])
    assert without_times(found) == METADATA
