"""What a W&B offline run holds, read from its file.

The file is a LevelDB log (7 bytes of header, blocks of 32 KiB) of `Record` messages.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK = 32 * 1024
_FILE_HEADER = 7


def _records(data: bytes) -> Iterator[bytes]:
    position, parts = _FILE_HEADER, []
    while position + 7 <= len(data):
        left = _BLOCK - position % _BLOCK
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        if kind == 0:
            return
        parts.append(data[position + 7 : position + 7 + length])
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield b"".join(parts)
            parts = []


def history(directory: Path) -> list[dict[str, Any]]:
    """Rows of the only run below a directory, without W&B's own columns."""
    from wandb.proto import wandb_internal_pb2

    (path,) = directory.rglob("run-*.wandb")
    rows = []
    for data in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            row = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            rows.append({name: value for name, value in row.items() if not name.startswith("_")})
    return rows
