"""What MLflow does with files in its own way."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.contract.conftest import make_backend
from tests.support.door import Door
from tracelet_otel.errors import RefusedError, TrackerUnavailableError
from tracelet_otel.exporters.mlflow.mapping import MAX_TAG_LENGTH
from tracelet_otel.protocol.files import Checkpoint, FileKind, RunFile

LATER = 1_700_000_000_000_000_000
SAVED = RunFile("a.ckpt", FileKind.CHECKPOINT, 1, "a.ckpt", 7, 1, Checkpoint("/a.ckpt", is_best=True))
KILLED, REFUSED = ConnectionError("killed"), ImportError("no boto3")
GONE = replace(SAVED, content=None, checkpoint=Checkpoint("/a.ckpt", is_removed=True))


@pytest.fixture(params=["MLflow on SQLite", pytest.param("MLflow server", marks=pytest.mark.slow)])
def backend(request, tmp_path, monkeypatch):
    return make_backend(request.param, request, tmp_path, monkeypatch)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_bytes(b"weights")
    return path


def opened(backend, identity, **settings):
    """A tracker, and its writer of files, as a relay makes them."""
    tracker = backend.tracker(**settings)
    tracker.open(identity)
    writer = tracker.file_writer()
    writer.open(identity)
    return tracker, writer


@contextlib.contextmanager
def failing(monkeypatch, writer, method, error):
    """A method of MLflow's client fails: what was done before it is done."""

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(writer._client, method, fail)
        yield


def paths(tracker, below=None):
    """Paths of all artifacts of a tracker's run."""
    client, found = MlflowClient(tracker._uri), []
    for one in client.list_artifacts(tracker._run_id, below):
        found += paths(tracker, one.path) if one.is_dir else [one.path]
    return found


def models(tracker):
    client = MlflowClient(tracker._uri)
    run = client.get_run(tracker._run_id).info
    return client.search_logged_models([run.experiment_id], f"source_run_id = '{run.run_id}'")


def table(path: Path) -> Path:
    path.write_text(json.dumps({"columns": ["name"], "data": [["a"]]}))
    return path


@pytest.mark.parametrize("backend", ["MLflow server"], indirect=True)
def test_an_artifact_that_may_not_be_deleted_is_refused_and_not_asked_for_again(backend, identity, weights):
    door = Door(backend.uri)
    try:
        _, writer = opened(backend, identity, backend_url=door.uri)
        writer.write(SAVED, weights)
        door.ill, door.ill_at = "405", "mlflow-artifacts"
        with pytest.raises(RefusedError, match="HTTP status 405"):
            writer.write(GONE, None)
    finally:
        door.stop()


def test_an_image_is_there_once_however_often_it_is_written(backend, identity, tmp_path):
    from PIL import Image

    content = tmp_path / "00000003.png"
    Image.new("RGB", (8, 6)).save(content)
    image = RunFile("val/größe", FileKind.IMAGE, LATER, content.name, step=3)
    for relay in range(3):
        tracker, writer = opened(backend, identity)
        for _ in range(1 + relay):
            writer.write(image, content)
            writer.write(replace(image, name="val/plain"), content)
    assert len([path for path in paths(tracker) if path.endswith(".png")]) == 2
    assert MlflowClient(tracker._uri).get_run(tracker._run_id).data.tags["mlflow.loggedImages"] == "True"


def test_an_image_that_was_stored_when_its_relay_was_killed_is_shown(backend, identity, tmp_path, monkeypatch):
    from PIL import Image

    content = tmp_path / "00000003.png"
    Image.new("RGB", (8, 6)).save(content)
    image = RunFile("val/plain", FileKind.IMAGE, LATER, content.name, step=3)

    tracker, writer = opened(backend, identity)
    with failing(monkeypatch, writer, "set_tag", KILLED), pytest.raises(TrackerUnavailableError):
        writer.write(image, content)
    writer.write(image, content)
    assert len([path for path in paths(tracker) if path.endswith(".png")]) == 1
    assert MlflowClient(tracker._uri).get_run(tracker._run_id).data.tags["mlflow.loggedImages"] == "True"


def test_images_of_names_that_mlflow_cannot_tell_apart_are_apart(backend, identity, tmp_path):
    from PIL import Image

    content = tmp_path / "00000003.png"
    Image.new("RGB", (8, 6)).save(content)
    tracker, writer = opened(backend, identity)
    for name in ("größe", "grüße", "x" * 200 + "1", "x" * 200 + "2"):
        writer.write(RunFile(name, FileKind.IMAGE, LATER, content.name, step=3), content)
    assert len({path.partition("+step+")[0] for path in paths(tracker)}) == 4


def test_more_tables_than_a_tag_has_room_for_are_stored_and_the_last_ones_shown(backend, identity, tmp_path):
    tracker, writer = opened(backend, identity)
    client = MlflowClient(tracker._uri)
    many = [{"path": f"val/{'x' * 60}/{step:08d}.json", "type": "table"} for step in range(73)]
    client.set_tag(tracker._run_id, "mlflow.loggedArtifacts", json.dumps(many))
    for step in (90, 91):
        content = table(tmp_path / f"{step:08d}.json")
        writer.write(RunFile("val/mine", FileKind.TABLE, LATER, content.name, step=step), content)
    text = client.get_run(tracker._run_id).data.tags["mlflow.loggedArtifacts"]
    shown = [one["path"] for one in json.loads(text)]
    assert shown[-2:] == ["val/mine/00000090.json", "val/mine/00000091.json"]
    assert 60 < len(shown) < 75
    assert len(text) <= MAX_TAG_LENGTH
    # What an earlier release has left of it.
    client.set_tag(tracker._run_id, "mlflow.loggedArtifacts", text[:-5])
    writer.write(
        RunFile("val/mine", FileKind.TABLE, LATER, "00000092.json", step=92), table(tmp_path / "00000092.json")
    )
    assert len(json.loads(client.get_run(tracker._run_id).data.tags["mlflow.loggedArtifacts"])) == 1


def test_a_checkpoint_that_goes_after_its_relay_was_killed_in_an_upload_leaves_nothing(
    backend, identity, weights, monkeypatch
):
    tracker, writer = opened(backend, identity)

    with failing(monkeypatch, writer, "log_artifacts", KILLED), pytest.raises(TrackerUnavailableError):
        # It comes after the file itself.
        writer.write(SAVED, weights)
    assert paths(tracker) == ["model/checkpoints/a/a.ckpt"]
    (pending,) = models(tracker)
    assert pending.tags.get("tracelet.checkpoint.aliases") is None
    _, writer = opened(backend, identity)
    writer.write(GONE, None)
    assert (paths(tracker), list(models(tracker))) == ([], [])


def test_a_model_that_was_made_when_its_relay_was_killed_is_not_pending_for_ever(backend, identity, monkeypatch):
    tracker, writer = opened(backend, identity)

    with failing(monkeypatch, writer, "finalize_logged_model", KILLED), pytest.raises(TrackerUnavailableError):
        writer.write(replace(SAVED, content=None), None)
    _, writer = opened(backend, identity)
    writer.write(replace(SAVED, content=None), None)
    (model,) = models(tracker)
    assert (model.status.name, model.tags["tracelet.checkpoint.aliases"]) == ("READY", "best")


def test_a_checkpoint_that_mlflow_does_not_take_is_a_reference(backend, identity, weights, monkeypatch):
    tracker, writer = opened(backend, identity)

    with failing(monkeypatch, writer, "log_artifact", REFUSED), pytest.raises(RefusedError, match="no boto3"):
        writer.write(SAVED, weights)
    (model,) = models(tracker)
    assert (model.tags["tracelet.checkpoint.path"], model.tags["tracelet.checkpoint.aliases"]) == ("/a.ckpt", "best")
    assert "tracelet.checkpoint.artifact" not in model.tags


def test_more_checkpoints_than_mlflow_returns_at_a_time_are_known_to_the_next_relay(backend, identity, monkeypatch):
    _, writer = opened(backend, identity)
    for number in range(3):
        writer.write(replace(SAVED, content=None, checkpoint=Checkpoint(f"/{number}.ckpt")), None)
    search = MlflowClient.search_logged_models
    monkeypatch.setattr(
        MlflowClient, "search_logged_models", lambda *args, **more: search(*args, max_results=2, **more)
    )
    _, writer = opened(backend, identity)
    assert len(writer._checkpoints._models) == 3
