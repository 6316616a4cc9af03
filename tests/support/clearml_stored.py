"""The files that a ClearML task has: in a session's folder or archive, and on the double of the server."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.support.clearml_server import ClearmlServer, StoredTask
from tests.support.console_lines import by_rank
from tracelet_otel.testing.file_contract import StoredFiles
from tracelet_otel.testing.file_samples import StoredCheckpoint

Read = Callable[[str], bytes]
"""Returns what is in a file, by its address."""
_FACTS = ("step", "epoch", "monitor", "score", "mode")


def session_files(path: Path) -> StoredFiles:
    """What a session's archive holds."""
    with zipfile.ZipFile(path) as archive:
        task = json.loads(archive.read("task.json"))
        lines = archive.read("metrics.jsonl").decode().splitlines()

        def read(address: str) -> bytes:
            # As the import finds it.
            return archive.read(address.removeprefix(f"{task['offline_folder']}/"))

        shown = {}
        for event in (event for line in lines if line for event in json.loads(line)):
            if event["type"] != "training_stats_scalar":
                names = ("type", "iter", "metric", "variant", "key")
                shown[tuple(event[name] for name in names if name in event)] = event
                if "key" in event:
                    assert event["url"] == f"{task['offline_folder']}/data/{event['key']}"
        artifacts = {one["key"]: one for one in task.get("execution", {}).get("artifacts", [])}
        found = StoredFiles(media=_media(shown.values(), read))
        if "log.jsonl" in archive.namelist():
            log = archive.read("log.jsonl").decode().splitlines()
            found.console = _console(event for line in log if line for event in json.loads(line))
        contents: dict[str, Any] = {}
        for key, artifact in artifacts.items():
            content = read(artifact["uri"])
            assert len(content) == artifact["content_size"]
            if key.startswith("checkpoints/"):
                contents[key.removeprefix("checkpoints/")] = _unpacked(content, artifact["type"] == "archive")
            else:
                found.files |= _as_files(key, content, artifact["type"])
        for model in task.get("offline_output_models", []):
            init = model["init"]
            facts = dict(line.split(": ", 1) for line in init["comment"].splitlines())
            assert model["weights"]["register_uri"] == f"file://{facts['path']}"
            found.checkpoints[init["name"]] = _checkpoint(facts, init["tags"], contents.pop(init["name"], None))
        assert not contents
        kept = {name for name in archive.namelist() if name.startswith("data/")}
        samples = {event["key"] for event in shown.values() if "key" in event}
        pictures = {_picture(event) for event in shown.values() if event["type"] == "plot"} - {None}
        addresses = {*(one["uri"] for one in artifacts.values()), *pictures}
        assert kept == {one.removeprefix(f"{task['offline_folder']}/") for one in addresses} | {
            f"data/{key}" for key in samples
        }
        return found


def server_files(server: ClearmlServer, task: StoredTask) -> StoredFiles:
    """What the double of the server has of a task."""
    read = server.files.read
    found = StoredFiles(media=_media(task.shown.values(), read), console=_console(task.log))
    for artifact in task.fields.get("execution", {}).get("artifacts", []):
        content = read(artifact["uri"])
        assert len(content) == artifact["content_size"]
        found.files |= _as_files(artifact["key"], content, artifact["type"])
    assert sorted(task.outputs.values()) == sorted(server.models)
    for name, model_id in task.outputs.items():
        model = server.models[model_id]
        assert model["framework"] == "PyTorch"
        assert not model["ready"]
        facts = {key: item["value"] for key, item in model["metadata"].items()}
        assert model["comment"].splitlines() == [f"{key}: {value}" for key, value in facts.items()]
        is_here = model["uri"].startswith(server.uri)
        assert is_here or model["uri"] == f"file://{facts['path']}"
        weights = _unpacked(read(model["uri"]), "package" in model["system_tags"]) if is_here else None
        found.checkpoints[name] = _checkpoint(facts, model["tags"], weights)
    models = [path for path in server.files.paths if "/models/" in path]
    assert len(models) == sum(one.content is not None for one in found.checkpoints.values())
    return found


def _console(events: Iterable[Mapping[str, Any]]) -> dict[int, list[str]]:
    """Lines by rank, in the order of time, in which the page shows them."""
    ordered = sorted(events, key=lambda event: event["timestamp"])
    assert {event["level"] for event in ordered} <= {"debug", "info", "warning", "error", "critical"}
    return by_rank(line for event in ordered for line in event["msg"].split("\n"))


def _media(events: Iterable[Mapping[str, Any]], read: Read) -> dict[tuple[str, str, int | None], Any]:
    found: dict[tuple[str, str, int | None], Any] = {}
    for event in events:
        title, series = event["metric"], event["variant"]
        name, step = title if title == series else f"{title}/{series}", event["iter"]
        if event["type"] == "training_debug_image":
            suffix = event["key"].rpartition(".")[2]
            kind = {"png": "image", "txt": "text", "wav": "audio"}[suffix]
            content = read(event["url"])
            shown: dict[str, Callable[[bytes], Any]] = {"image": _pixels, "text": bytes.decode, "audio": bytes}
            found[kind, name, step] = shown[kind](content)
        else:
            kind, plot = _plot(event, read)
            found[kind, name, step] = plot
    return found


def _plot(event: Mapping[str, Any], read: Read) -> tuple[str, Any]:
    plot = json.loads(event["plot_str"])
    picture = _picture(event)
    if picture is not None:
        return "figure", _pixels(read(picture))
    if plot["data"][0]["type"] == "table":
        (table,) = plot["data"]
        rows = [list(row) for row in zip(*table["cells"]["values"], strict=True)]
        return "table", {"columns": table["header"]["values"], "data": rows}
    return "figure", plot["data"][0]["y"]


def _picture(event: Mapping[str, Any]) -> str | None:
    images = json.loads(event["plot_str"])["layout"].get("images")
    return images[0]["source"] if images else None


def _pixels(content: bytes) -> tuple[tuple[int, int], bytes]:
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return image.size, image.convert("RGB").tobytes()


def _as_files(key: str, content: bytes, kind: str) -> dict[str, bytes]:
    if kind != "archive":
        return {key: content}
    return {f"{key}/{name}": inside for name, inside in _unpacked(content, is_package=True).items()}


def _unpacked(content: bytes, is_package: bool) -> Any:
    if not is_package:
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _checkpoint(facts: Mapping[str, str], tags: Iterable[str], content: Any) -> StoredCheckpoint:
    return StoredCheckpoint(
        facts["path"], frozenset(tags), {name: facts[name] for name in _FACTS if name in facts}, content
    )
