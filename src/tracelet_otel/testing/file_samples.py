"""Files of every kind, as a relay gives them to a tracker, and a checkpoint as it is in a store."""

from __future__ import annotations

import json
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tracelet_otel.protocol.files import Checkpoint, FileKind, RunFile

TIME_NS = 1_700_000_000_000_000_000
"""When the first one was recorded, in nanoseconds since the epoch."""


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint as it was read from a tracker's store."""

    path: str
    """Where the training has written it."""
    aliases: frozenset[str]
    facts: Mapping[str, str]
    """What the store has of step, epoch, monitor, score and mode, as text."""
    content: Any = None
    """Bytes of its file, or bytes by path for a directory; None where the store only knows where it is."""


def pixels(path: Path | IO[bytes]) -> tuple[tuple[int, int], bytes]:
    """Size and colours of an image file."""
    from PIL import Image

    with Image.open(path) as image:
        return image.size, image.convert("RGB").tobytes()


def written(path: Path, content: bytes) -> Path:
    """Write a file, and the directories that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def file_of(directory: Path, path: str, content: bytes) -> tuple[RunFile, Path | None]:
    """A file of a user's, under its path below a directory."""
    name = path.rpartition("/")[2]
    return RunFile(path, FileKind.FILE, TIME_NS, name, len(content)), written(directory / path, content)


def checkpoint_of(number: int, score: float, *, best: bool, content: str | None = None) -> RunFile:
    """A checkpoint of a training, of which a later one has a higher number."""
    name = f"epoch={number}.ckpt"
    facts = Checkpoint(
        f"/scratch/{name}",
        epoch=number,
        monitor="val/loss",
        score=score,
        mode="min",
        is_best=best,
        is_last=True,
        is_top_k=True,
    )
    return RunFile(name, FileKind.CHECKPOINT, TIME_NS + number, content, 4000, 10 * number, facts)


def stored_checkpoint(number: int, score: float, aliases: set[str]) -> StoredCheckpoint:
    """What a store has of such a one whose file was not uploaded."""
    facts = {"step": str(10 * number), "epoch": str(number), "monitor": "val/loss", "score": str(score), "mode": "min"}
    return StoredCheckpoint(f"/scratch/epoch={number}.ckpt", frozenset(aliases), facts)


def _image(path: Path, step: int) -> Any:
    from PIL import Image

    Image.new("RGB", (8, 6), (step, 100, 200)).save(path)
    return pixels(path)


def _table(path: Path, step: int) -> Any:
    rows = [["a", step], ["b", None]]
    path.write_text(json.dumps({"columns": ["name", "number"], "data": rows}))
    return {"columns": ["name", "number"], "data": rows}


def _text(path: Path, step: int) -> Any:
    path.write_text(f"größer\n{step}", encoding="utf-8")
    return f"größer\n{step}"


def _audio(path: Path, step: int) -> Any:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes([step, 0]) * 800)
    return path.read_bytes()


MEDIA = (
    (FileKind.IMAGE, ".png", _image),
    (FileKind.FIGURE, ".png", _image),
    (FileKind.TABLE, ".json", _table),
    (FileKind.TEXT, ".txt", _text),
    (FileKind.AUDIO, ".wav", _audio),
)
"""Kind, suffix, and what writes one; it returns what is read back of it."""
