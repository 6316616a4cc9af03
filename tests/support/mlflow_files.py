"""The files that an MLflow store has of a run: read from its database, and through MLflow's own client."""

from __future__ import annotations

import json
import re
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.mlflow_store import stored_runs
from tracelet_otel import semconv
from tracelet_otel.protocol.console import rank_of
from tracelet_otel.testing.file_contract import StoredFiles
from tracelet_otel.testing.file_samples import StoredCheckpoint, pixels

_IMAGE = re.compile(r"images/(?P<name>.+)\+step\+(?P<step>\d+)\+timestamp\+\d+\+[0-9a-f-]+\.png")
_KINDS = {"my image": "image", "my figure": "figure", "my table": "table", "my text": "text", "my audio": "audio"}


def mlflow_files(uri: str, database: Path, run_id: str) -> StoredFiles:
    (run,) = [one for one in stored_runs(database) if one.tags.get(semconv.RUN_ID) == run_id]
    found = StoredFiles()
    with tempfile.TemporaryDirectory() as directory:
        artifacts = _downloaded(uri, run.run_id, Path(directory))
        for path, file in artifacts.items():
            image = _IMAGE.fullmatch(path)
            if image is not None:
                found.media["image", image["name"].replace("~", "/"), int(image["step"])] = pixels(file)
            elif path.startswith("console") and path.endswith(".log"):
                found.console[rank_of(path)] = file.read_text(encoding="utf-8").splitlines()
            elif path.startswith("val/"):
                _add_media(found, path, file)
            elif not path.startswith(("images/", "model/checkpoints/")):
                found.files[path] = file.read_bytes()
        tables = {one["path"] for one in json.loads(run.tags.get("mlflow.loggedArtifacts", "[]"))}
        assert tables == {path for path in artifacts if path.startswith("val/my table")}
        found.checkpoints = _checkpoints(database, run.run_id, artifacts)
    return found


def mlflow_console(database: Path) -> dict[int, list[str]]:
    """What ranks have printed in the only run of a database."""
    (run,) = stored_runs(database)
    with tempfile.TemporaryDirectory() as directory:
        found = _downloaded(f"sqlite:///{database}", run.run_id, Path(directory))
        return {
            rank_of(path): file.read_text(encoding="utf-8").splitlines()
            for path, file in found.items()
            if path.startswith("console") and path.endswith(".log")
        }


def _downloaded(uri: str, run_id: str, directory: Path) -> dict[str, Path]:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    if client.list_artifacts(run_id):
        client.download_artifacts(run_id, "", str(directory))
    return {str(file.relative_to(directory)): file for file in directory.rglob("*") if file.is_file()}


def _add_media(found: StoredFiles, path: str, file: Path) -> None:
    stem, _, suffix = path.rpartition(".")
    name, _, number = stem.rpartition("/")
    step = int(number) if number.isdigit() else None
    name = stem if step is None else name
    if suffix == "html":
        (points,) = re.findall(r'"y":(\[[^\]]*\])', file.read_text())
        found.media["figure", name, step] = json.loads(points)
        return
    kind = _KINDS[name.rpartition("/")[2]]
    read: dict[str, Any] = {"image": pixels, "figure": pixels, "audio": Path.read_bytes, "text": Path.read_text}
    found.media[kind, name, step] = json.loads(file.read_text()) if kind == "table" else read[kind](file)


def _checkpoints(database: Path, run_id: str, artifacts: dict[str, Path]) -> dict[str, StoredCheckpoint]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        models = connection.execute(
            "SELECT model_id FROM logged_models WHERE source_run_id = ? AND lifecycle_stage = 'active' "
            "AND status = 2 AND model_type = 'checkpoint'",
            (run_id,),
        ).fetchall()
        tags = [
            dict(connection.execute("SELECT tag_key, tag_value FROM logged_model_tags WHERE model_id = ?", model))
            for model in models
        ]
    found = {}
    for one in tags:
        facts = {name.removeprefix("tracelet.checkpoint."): text for name, text in one.items()}
        path = facts["path"]
        name = path.rpartition("/")[2]
        place = facts.get("artifact")
        content = None if place is None else _content(place, name, artifacts)
        found[name] = StoredCheckpoint(
            path,
            frozenset(filter(None, facts["aliases"].split(","))),
            {key: facts[key] for key in ("step", "epoch", "monitor", "score", "mode") if key in facts},
            content,
        )
    left = {"/".join(path.split("/")[:3]) for path in artifacts if path.startswith("model/checkpoints/")}
    assert left == {one["tracelet.checkpoint.artifact"] for one in tags if "tracelet.checkpoint.artifact" in one}
    return found


def _content(place: str, name: str, artifacts: dict[str, Path]) -> Any:
    if f"{place}/{name}" in artifacts:
        return artifacts[f"{place}/{name}"].read_bytes()
    inside = f"{place}/{name}/"
    return {path.removeprefix(inside): file.read_bytes() for path, file in artifacts.items() if path.startswith(inside)}
