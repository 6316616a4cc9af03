"""The files that W&B has of a run: read from the folders of an offline run, or from the stand-in for its service."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.console_lines import by_rank
from tests.support.wandb_files import offline_run
from tests.support.wandb_server import WandbServer
from tracelet_otel.protocol.console import rank_of
from tracelet_otel.testing.file_contract import StoredFiles
from tracelet_otel.testing.file_samples import StoredCheckpoint, pixels

_TYPES = {
    "my image": ("image", "image-file"),
    "my figure": ("figure", "image-file"),
    "my table": ("table", "table-file"),
    "my text": ("text", "html-file"),
    "my audio": ("audio", "audio-file"),
    "curve": ("figure", "plotly-file"),
}
"""By the end of the name that the contract gives: kind, and W&B's own type for it."""
_OWN_FILES = ("config.yaml", "wandb-metadata.json", "wandb-summary.json")


def files_of_offline_run(paths: list[Path]) -> StoredFiles:
    """Of all folders that a run has, oldest first."""
    found = StoredFiles()
    aliases: dict[str, str] = {}
    versions: dict[str, tuple[dict[str, Any], dict[str, bytes]]] = {}
    output = ""
    for path in paths:
        if path.parent.is_symlink():
            continue
        run = offline_run(path)
        output += run.output
        contents = {name: (path.parent / "files" / name).read_bytes() for name in run.files}
        _add(found, [_nested(row) for row in run.rows], contents)
        for one in run.artifacts:
            if one.type == "model":
                assert one.name == f"model-{run.run_id}"
                aliases |= dict.fromkeys(one.aliases, one.digest)
                versions[one.digest] = one.metadata, {name: file.read_bytes() for name, file in one.files.items()}
    _add_console(found, output.splitlines())
    for digest, (metadata, files) in versions.items():
        _add_checkpoint(found, metadata, files, {alias for alias, owner in aliases.items() if owner == digest})
    return found


def files_of_online_run(server: WandbServer, run_id: str) -> StoredFiles:
    """Of a run that a server has."""
    found = StoredFiles()
    run = server.runs[run_id]
    _add(found, run.history, run.files)
    # W&B's client puts the time before each line.
    _add_console(found, [line.rstrip("\n").partition(" ")[2] for line in run.texts("output.log")])
    name = f"model-{run_id}"
    for version in server.artifacts.collections.get(name, []):
        assert version.is_committed
        assert version.manifest["contents"].keys() == version.files.keys()
        _add_checkpoint(found, version.metadata, version.files, server.artifacts.aliases_of(name, version))
    return found


def _nested(row: Mapping[str, Any]) -> dict[str, Any]:
    """Put together what is media: a file of W&B's has each part of it as a cell."""
    nested: dict[str, Any] = {}
    for name, value in row.items():
        media = next((one.removesuffix("._type") for one in row if one.endswith("._type")), None)
        if media is not None and name.startswith(f"{media}."):
            nested.setdefault(media, {})[name.removeprefix(f"{media}.")] = value
        else:
            nested[name] = value
    return nested


def _add(found: StoredFiles, rows: list[dict[str, Any]], contents: Mapping[str, bytes]) -> None:
    for row in rows:
        for name, value in row.items():
            if isinstance(value, dict):
                kind, wandb_type = _TYPES[name.rpartition("/")[2]]
                assert value["_type"] == wandb_type
                key = kind, name, row.get("trainer/global_step")
                assert key not in found.media
                found.media[key] = _READ[wandb_type](contents[value["path"]])
    found.files |= {
        name: content for name, content in contents.items() if name not in _OWN_FILES and not name.startswith("media/")
    }


def _add_console(found: StoredFiles, lines: list[str]) -> None:
    found.console = by_rank(lines)
    for name in [one for one in found.files if one.startswith("console") and one.endswith(".log")]:
        assert found.files.pop(name).decode().splitlines() == found.console[rank_of(name)]


def _add_checkpoint(
    found: StoredFiles, metadata: Mapping[str, Any], files: Mapping[str, bytes], aliases: set[str]
) -> None:
    name = metadata["original_filename"]
    facts = {key: str(metadata[key]) for key in ("step", "epoch", "monitor", "score", "mode")}
    content: Any = {path.removeprefix(f"{name}/"): file for path, file in files.items()}
    if set(files) == {"checkpoint.json"}:
        assert json.loads(files["checkpoint.json"]) == metadata
        content = None
    elif set(files) == {name}:
        content = files[name]
    found.checkpoints[name] = StoredCheckpoint(metadata["path"], frozenset(aliases), facts, content)


def _table(content: bytes) -> Any:
    found = json.loads(content)
    return {"columns": found["columns"], "data": found["data"]}


def _text(content: bytes) -> str:
    (text,) = re.findall("<pre[^>]*>(.*)</pre>", content.decode(), re.DOTALL)
    return html.unescape(text)


_READ: Mapping[str, Callable[[bytes], Any]] = {
    "image-file": lambda content: pixels(io.BytesIO(content)),
    "table-file": _table,
    "html-file": _text,
    "audio-file": lambda content: content,
    "plotly-file": lambda content: json.loads(content)["data"][0]["y"],
}
