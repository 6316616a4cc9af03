"""Runs in W&B that are begun again, where that goes wrong, too."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.support.wandb_entries import TIME_NS, again, core_of, kill, plain, table, text
from tests.support.wandb_files import offline_files
from tracelet_otel import semconv
from tracelet_otel.errors import RefusedError, TrackerUnavailableError
from tracelet_otel.testing import reading


def test_a_table_is_there_whose_server_refuses_something_when_its_run_is_begun_again(online, identity, tmp_path):
    tracker = online.tracker()
    tracker.open(identity)
    writer = tracker.file_writer()
    online.server.refused = {"files"}
    writer.write(*table(tmp_path, 2))
    kill(core_of(tracker))
    online.server.refused = {"Viewer"}
    again(lambda: writer.write(*text(tmp_path, 3)))
    online.server.refused = set()
    tracker.close(semconv.OUTCOME_FINISHED)
    assert online.stored_files(identity.run_id).media == {
        ("table", "my table", 2): {"columns": ["a"], "data": [[2]]},
        ("text", "my text", 3): "text 3",
    }


@pytest.mark.parametrize(("status", "error"), [(403, RefusedError), (409, TrackerUnavailableError)])
def test_a_table_has_no_row_before_it_has_its_artifact(online, identity, tmp_path, status, error):
    tracker = online.tracker()
    tracker.open(identity)
    online.server.artifacts.refusal = status
    with pytest.raises(error, match=r"W&B .* take[n]? the table: .*no room"):
        tracker.file_writer().write(*table(tmp_path, 2))
    tracker.close(semconv.OUTCOME_FINISHED)
    assert online.server.runs[identity.run_id].history == []


@pytest.mark.timeout(60)
def test_where_its_core_does_not_start_that_is_said_and_it_is_started_again(online, identity, tmp_path, monkeypatch):
    tracker = online.tracker()
    with monkeypatch.context() as patched:
        # So many seconds W&B's client waits for wandb-core.
        patched.setenv("WANDB_X_SERVICE_WAIT", "0")
        with pytest.raises(TrackerUnavailableError, match="W&B: "):
            tracker.open(identity)
    tracker.open(identity)
    tracker.close(semconv.OUTCOME_FINISHED)
    assert online.server.runs[identity.run_id].exit_code == 0


def begun_and_killed(folder: Path, first: Path, length: int) -> None:
    """Make the folder of a process that has logged again a part of what was in the file before, and was killed then.

    Args:
        folder: the folder.
        first: the folder of the process before.
        length: of its file, in bytes.
    """
    shutil.copytree(first, folder, symlinks=True)
    (folder / "tracelet-begun").unlink(missing_ok=True)
    (path,) = folder.glob("*.wandb")
    path.write_bytes(path.read_bytes()[:length])
    shutil.rmtree(folder / "files")


def test_nothing_is_lost_where_a_process_dies_before_it_has_logged_all_again(online, identity, tmp_path):
    readings = [reading("loss", n / 3, n, TIME_NS // 1_000_000 + n) for n in range(1, 7)]
    tracker = online.tracker()
    tracker.open(identity)
    writer = tracker.file_writer()
    online.server.refused = {"files", "CreateRunFiles"}
    tracker.log_readings(readings[:2])
    (path,) = {path.resolve() for path in offline_files(tmp_path / "wandb", identity.run_id)}
    length = path.stat().st_size
    tracker.log_readings(readings[2:4])
    writer.write(*text(tmp_path, 5))
    writer.write(*plain(tmp_path, "first.txt"))
    kill(psutil.Process(tracker.process.pid))
    # It has logged two rows again, and saved no file.
    begun_and_killed(path.parent.with_name(f"{path.parent.name}-1"), path.parent, length)
    online.server.refused = set()
    again(lambda: tracker.log_readings(readings[4:]))
    tracker.close(semconv.OUTCOME_FINISHED)
    rows = [row for row in online.server.runs[identity.run_id].history if "loss" in row]
    assert Counter((row["trainer/global_step"], row["loss"]) for row in rows) == Counter(
        (one.step, one.value) for one in readings
    )
    found = online.stored_files(identity.run_id)
    assert found.media == {("text", "my text", 5): "text 5"}
    assert found.files == {"first.txt": b"first.txt"}
