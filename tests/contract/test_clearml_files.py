"""What ClearML does with files in its own way."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract.backends import ClearmlOffline, ClearmlOnline
from tests.contract.conftest import make_backend
from tests.contract.test_clearml import import_session
from tracelet_otel import semconv
from tracelet_otel.errors import RefusedError, TrackerUnavailableError
from tracelet_otel.exporters.clearml.api import files_address
from tracelet_otel.exporters.clearml.events import plain_plot
from tracelet_otel.exporters.clearml.places import Places
from tracelet_otel.protocol.console import ConsoleLine, file_name, put_lines
from tracelet_otel.protocol.files import Checkpoint, FileKind, RunFile, entry_names, read_entry
from tracelet_otel.protocol.run_identity import RunIdentity

LATER = 1_700_000_000_000_000_000


@pytest.fixture
def online(request, tmp_path, monkeypatch) -> ClearmlOnline:
    return make_backend("ClearML server", request, tmp_path, monkeypatch)


@pytest.fixture
def offline(tmp_path):
    return ClearmlOffline(tmp_path / "clearml")


def opened(backend, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    writer = tracker.file_writer()
    writer.open(identity)
    return tracker, writer


def made(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def checkpoint(name: str, content: str | None = None, **facts: bool) -> RunFile:
    return RunFile(name, FileKind.CHECKPOINT, LATER, content, 4, 7, Checkpoint(f"/scratch/{name}", epoch=1, **facts))


def some_files(directory: Path) -> list[tuple[RunFile, Path | None]]:
    from PIL import Image

    picture = directory / "00000003.png"
    Image.new("RGB", (8, 6), (1, 2, 3)).save(picture)
    table = made(directory / "00000003.json", json.dumps({"columns": ["a"], "data": [[1], [2]]}).encode())
    best = made(directory / "best.ckpt", b"weights")
    sharded = made(directory / "sharded.ckpt" / "0.distcp", b"shard").parent
    return [
        (RunFile("notes/größe = 1.txt", FileKind.FILE, LATER, "x"), made(directory / "größe = 1.txt", b"notes")),
        (RunFile("val/image", FileKind.IMAGE, LATER, picture.name, step=3), picture),
        (RunFile("val/figure", FileKind.FIGURE, LATER, picture.name, step=3), picture),
        (RunFile("val/table", FileKind.TABLE, LATER, table.name, step=3), table),
        (checkpoint("best.ckpt", "best.ckpt", is_best=True, is_top_k=True), best),
        (checkpoint("sharded.ckpt", "sharded.ckpt"), sharded),
        (checkpoint("last.ckpt", is_last=True), None),
    ]


@pytest.mark.parametrize("form", ["archive", "folder of a run that was killed"])
def test_clearml_imports_the_files_of_a_session(offline, identity, clearml_server, tmp_path, form):
    tracker, writer = opened(offline, identity)
    for file, content in some_files(tmp_path):
        writer.write(file, content)
    spool = tmp_path / "spool"
    spool.mkdir()
    put_lines(spool, file_name(1), [ConsoleLine(LATER, "größe", "stderr", 13), ConsoleLine(LATER, "as it is")], LATER)
    (entry,) = [read_entry(spool / name) for name in entry_names(spool)]
    writer.write(entry.file, entry.content)
    session = tmp_path / "clearml" / "offline" / f"offline-{identity.run_id}"
    if form == "archive":
        tracker.close(semconv.OUTCOME_FINISHED)
        # Whoever imports it may have nothing else.
        shutil.rmtree(session)
        session = session.with_suffix(".zip")
    import_session(session, clearml_server, tmp_path)
    (task,) = clearml_server.tasks.values()
    log = [(event["timestamp"], event["level"], event["msg"]) for event in task.log]
    assert log[:2] == [
        (LATER // 1_000_000, "warning", "[rank 1] größe"),
        (LATER // 1_000_000 + 1, "info", "[rank 1] as it is"),
    ]
    read = clearml_server.files.read
    artifacts = {one["key"]: read(one["uri"]) for one in task.fields["execution"]["artifacts"]}
    assert list(artifacts) == ["notes/größe = 1.txt", "checkpoints/best.ckpt", "checkpoints/sharded.ckpt"]
    assert artifacts["notes/größe = 1.txt"] == b"notes"
    assert artifacts["checkpoints/best.ckpt"] == b"weights"
    shown = {(event["type"], event["variant"]): event for event in task.shown.values()}
    assert set(shown) == {("training_debug_image", "image"), ("plot", "figure"), ("plot", "table")}
    picture = (tmp_path / "00000003.png").read_bytes()
    assert read(shown["training_debug_image", "image"]["url"]) == picture
    (image,) = json.loads(shown["plot", "figure"]["plot_str"])["layout"]["images"]
    assert read(image["source"]) == picture
    assert all(f".{task.task_id}/" in path for path in clearml_server.files.paths)
    models = {clearml_server.models[key]["name"]: clearml_server.models[key] for key in task.outputs.values()}
    assert {name: (model["tags"], model["uri"], model["framework"]) for name, model in models.items()} == {
        "best.ckpt": (["best", "top-k"], "file:///scratch/best.ckpt", "PyTorch"),
        "sharded.ckpt": ([], "file:///scratch/sharded.ckpt", "PyTorch"),
        "last.ckpt": (["latest"], "file:///scratch/last.ckpt", "PyTorch"),
    }
    assert "epoch: 1" in models["best.ckpt"]["comment"].splitlines()


def test_a_directory_of_many_files_is_one_archive(online, identity, tmp_path):
    _, writer = opened(online, identity)
    for count in (100, 101):
        for number in range(count):
            made(tmp_path / f"{count}" / f"{number}.txt", b"%d" % number)
        writer.write(RunFile(f"data/{count}", FileKind.FILE, LATER, f"{count}"), tmp_path / f"{count}")
    (task,) = online.server.tasks.values()
    kinds = [(one["type"], one["key"]) for one in task.fields["execution"]["artifacts"]]
    assert len(kinds) == 101
    assert kinds[-1] == ("archive", "data/101")
    assert online.stored_files(identity.run_id).files["data/101/100.txt"] == b"100"
    assert not list(tmp_path.glob(".zip-*"))


def test_an_upload_needs_little_memory(online, identity, tmp_path):
    _, writer = opened(online, identity)
    size = 64 * 2**20
    content = tmp_path / "large.ckpt"
    with content.open("wb") as file:
        file.truncate(size)
    tracemalloc.start()
    writer.write(checkpoint("large.ckpt", content.name), content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Of which the double of the server has a part.
    assert peak < 8 * 2**20
    (model,) = online.server.models.values()
    assert len(online.server.files.read(model["uri"])) == size


def test_a_task_that_the_server_has_stopped_goes_on(online, identity, tmp_path):
    _, writer = opened(online, identity)
    (task,) = online.server.tasks.values()
    for name in ("a.txt", "b.txt"):
        task.status = "stopped"
        writer.write(RunFile(name, FileKind.FILE, LATER, name), made(tmp_path / name, b"x"))
        assert task.status == "in_progress"
    assert online.stored_files(identity.run_id).files == {"a.txt": b"x", "b.txt": b"x"}


def test_a_model_that_was_published_stays(online, identity, tmp_path):
    _, writer = opened(online, identity)
    content = made(tmp_path / "a.ckpt", b"weights")
    file = checkpoint("a.ckpt", content.name, is_best=True)
    writer.write(file, content)
    (model,) = online.server.models.values()
    model["ready"] = True
    model["tags"].append("of somebody")
    writer.write(replace(file, content=None, checkpoint=replace(file.checkpoint, is_removed=True)), None)
    assert list(online.server.models.values()) == [model]
    assert model["tags"] == ["of somebody"]
    assert online.server.files.read(model["uri"]) == b"weights"


def test_tags_of_people_stay_on_a_model(online, identity):
    _, writer = opened(online, identity)
    writer.write(checkpoint("a.ckpt", is_best=True), None)
    (model,) = online.server.models.values()
    model["tags"].append("of somebody")
    writer.write(checkpoint("b.ckpt", is_best=True), None)
    assert model["tags"] == ["of somebody"]


def test_models_of_one_name_are_two(online, identity):
    _, writer = opened(online, identity)
    one = checkpoint("a.ckpt")
    other = replace(one, checkpoint=replace(one.checkpoint, path="/elsewhere/a.ckpt"))
    for file in (one, other, one, other):
        writer.write(file, None)
    (task,) = online.server.tasks.values()
    assert len(online.server.models) == len(task.outputs) == 2
    assert "a.ckpt" in task.outputs


def test_a_model_that_somebody_has_removed_is_made_again(online, identity):
    _, writer = opened(online, identity)
    writer.write(checkpoint("a.ckpt"), None)
    (model,) = online.server.models
    online.server._models_delete({"model": model})
    writer.write(checkpoint("a.ckpt"), None)
    assert list(online.stored_files(identity.run_id).checkpoints) == ["a.ckpt"]


def test_a_token_that_has_expired_is_renewed(online, identity, tmp_path):
    _, writer = opened(online, identity)
    online.server.tokens.clear()
    file, content = RunFile("a.txt", FileKind.FILE, LATER, "a.txt"), made(tmp_path / "a.txt", b"x")
    with pytest.raises(TrackerUnavailableError):
        writer.write(file, content)
    writer.write(file, content)
    assert online.stored_files(identity.run_id).files == {"a.txt": b"x"}


def test_a_files_server_that_is_not_known_is_named(online, identity, monkeypatch, tmp_path):
    monkeypatch.delenv("CLEARML_FILES_HOST")
    _, writer = opened(online, identity)
    with pytest.raises(RefusedError, match="set CLEARML_FILES_HOST"):
        writer.write(RunFile("a.txt", FileKind.FILE, LATER, "a.txt"), made(tmp_path / "a.txt", b"x"))
    # What needs none is there.
    writer.write(checkpoint("a.ckpt"), None)
    assert list(online.stored_files(identity.run_id).checkpoints) == ["a.ckpt"]


def test_a_files_server_that_does_not_answer_shows_no_credentials(online, identity, monkeypatch, tmp_path):
    monkeypatch.setenv("CLEARML_FILES_HOST", "http://ada:hush-hush@127.0.0.1:9")
    _, writer = opened(online, identity)
    with pytest.raises(TrackerUnavailableError, match=r"files server at http://127\.0\.0\.1:9 cannot be") as raised:
        writer.write(RunFile("a.txt", FileKind.FILE, LATER, "a.txt"), made(tmp_path / "a.txt", b"x"))
    assert "hush" not in str(raised.value)


def test_files_wait_for_their_run(online, offline, identity):
    for backend in (online, offline):
        with pytest.raises(TrackerUnavailableError):
            backend.tracker().file_writer().open(identity)


@pytest.mark.parametrize(
    ("api", "files"),
    [
        ("https://api.clear.ml", "https://files.clear.ml"),
        ("http://host:8008", "http://host:8081"),
        ("http://host/clearml", None),
    ],
)
def test_the_address_of_the_files_server(api, files):
    assert files_address(api) == files


@pytest.mark.parametrize("name", ["..", "a" * 300 + ".tar.gz", "größe" * 60 + ".txt", 'a"b\r\nc', "a/../b", ""])
def test_places_are_inside_and_have_parts_that_a_disk_takes(name):
    run = RunIdentity("id", f"run {name}", f"project/{name}", {})
    parts = Places(run, "the-task").artifact(name, name).split("/")
    assert len(parts) == 5
    assert parts[1].endswith(".the-task")
    assert not set(parts) & {"", ".", ".."}
    assert max(len(part.encode()) for part in parts) <= 255
    assert not set("".join(parts)) & set('"\r\n?#%')


def test_packed_numbers_of_plotly_are_unpacked():
    # Four numbers of eight bytes, little-endian, in two rows; the last is no number.
    packed = {"dtype": "f8", "bdata": "AAAAAAAA8D8AAAAAAAAAQAAAAAAAAAhAAAAAAAAA+H8=", "shape": "2, 2"}
    flat = {name: text for name, text in packed.items() if name != "shape"}
    assert plain_plot({"data": [{"z": packed, "y": flat}]}) == {
        "data": [{"z": [[1.0, 2.0], [3.0, None]], "y": [1.0, 2.0, 3.0, None]}]
    }


def test_installed_packages_are_where_the_page_of_a_task_shows_them(online, identity, tmp_path):
    _, writer = opened(online, identity)
    content = made(tmp_path / "requirements.txt", b"a==1\nb==2\n")
    ours = RunFile("requirements.txt", FileKind.FILE, LATER, content.name, is_own=True)
    writer.write(ours, content)
    writer.write(replace(ours, is_own=False), made(tmp_path / "theirs" / "requirements.txt", b"theirs"))
    (task,) = online.server.tasks.values()
    assert task.fields["script"]["requirements"] == {"pip": "a==1\nb==2\n"}
    assert task.fields["script"]["binary"] == "python"


def test_the_import_of_a_session_keeps_script_arguments_and_packages(offline, identity, clearml_server, tmp_path):
    attributes = {semconv.PROCESS_COMMAND: "train.py", semconv.PROCESS_COMMAND_ARGS: ["train.py", "ours", "--lr=3"]}
    identity = replace(identity, attributes={**identity.attributes, **attributes})
    tracker, writer = opened(offline, identity)
    content = made(tmp_path / "requirements.txt", b"a==1\n")
    writer.write(RunFile("requirements.txt", FileKind.FILE, LATER, content.name, is_own=True), content)
    tracker.close(semconv.OUTCOME_FINISHED)
    import_session(tmp_path / "clearml" / "offline" / f"offline-{identity.run_id}.zip", clearml_server, tmp_path)
    (task,) = clearml_server.tasks.values()
    assert task.fields["script"]["entry_point"] == "train.py"
    assert task.fields["script"]["requirements"] == {"pip": "a==1\n"}
    found = {name: item["value"] for name, item in task.hyperparams["Args"].items()}
    assert found == {"1": "ours", "lr": "3"}


@pytest.mark.parametrize("place", ["online", "offline"])
def test_each_callback_has_a_best_checkpoint_and_a_last_one(request, identity, place):
    backend = request.getfixturevalue(place)
    for name, keeper in (("a", 0), ("b", 1), ("c", 0)):
        tracker, writer = opened(backend, identity)
        file = checkpoint(f"{name}.ckpt", is_best=True, is_last=True)
        writer.write(replace(file, checkpoint=replace(file.checkpoint, keeper=keeper)), None)
        tracker.close(semconv.OUTCOME_FINISHED)
    found = backend.stored_files(identity.run_id).checkpoints
    aliases = {name: one.aliases for name, one in found.items()}
    assert aliases == {"a.ckpt": set(), "b.ckpt": {"best", "latest"}, "c.ckpt": {"best", "latest"}}
