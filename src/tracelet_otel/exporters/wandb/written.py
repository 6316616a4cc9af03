"""Finds how far wandb-core has written a run to its file, from the end of that file.

The file is a LevelDB log of `Record` messages. wandb-core writes rows in the order in which they were logged, so with a
row that is in the file all rows before it are there.

Source of the form: https://github.com/google/leveldb/blob/main/doc/log_format.md; W&B's checksums are plain CRC-32.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any, Final

_BLOCK: Final = 32 * 1024
_FILE_HEADER: Final = 7
_CHUNK_HEADER: Final = struct.Struct("<IHB")
_WHOLE, _FIRST, _LAST = 1, 2, 4
_PAUSE_S: Final = 0.002


def wait_for_row(path: Path, number: int, patience_s: float) -> bool:
    """Wait until a row is on the disk, and with it all rows before it; returns whether it is.

    Args:
        path: the run's file.
        number: of the row: W&B's own step.
        patience_s: for how long to wait.
    """

    def is_there(record: Any) -> bool | None:
        return bool(record.history.step.num >= number) if _kind_of(record) == "history" else None

    return _wait(path, is_there, patience_s)


def wait_for_file(path: Path, name: str, patience_s: float) -> bool:
    """Wait until it is on the disk that a file is to be uploaded; returns whether it is.

    Args:
        path: the run's file.
        name: of the file, below the run's folder. No row was logged since it was saved.
        patience_s: for how long to wait.
    """
    return _wait(path, _after_rows("files", lambda found: any(one.path == name for one in found.files)), patience_s)


def wait_for_artifact(path: Path, digest: str, patience_s: float) -> bool:
    """Wait until an artifact of an offline run is on the disk; returns whether it is.

    Args:
        path: the run's file.
        digest: of what is in it. No row was logged since it was.
        patience_s: for how long to wait.
    """
    return _wait(path, _after_rows("artifact", lambda found: found.digest == digest), patience_s)


def wait_for_output(path: Path, text: str, patience_s: float) -> bool:
    """Wait until text of the run's console is on the disk; returns whether it is.

    Args:
        path: the run's file.
        text: what was written. No row was logged since it was.
        patience_s: for how long to wait.
    """
    return _wait(path, _after_rows("output_logger", lambda found: found.line == text), patience_s)


def _after_rows(kind: str, is_it: Callable[[Any], bool]) -> Callable[[Any], bool | None]:
    """Look for a record behind the last row.

    Args:
        kind: kind of the record.
        is_it: whether what such a record has is what is looked for.
    """

    def is_there(record: Any) -> bool | None:
        found = _kind_of(record)
        if found == kind:
            return is_it(getattr(record, kind)) or None
        return False if found == "history" else None

    return is_there


def _wait(path: Path, is_there: Callable[[Any], bool | None], patience_s: float) -> bool:
    """Wait for a record, which is looked for from the end of the file.

    Args:
        path: the run's file.
        is_there: returns of a record whether all is there, or None where that is seen from those before it.
        patience_s: for how long to wait.
    """
    until_s = time.monotonic() + patience_s
    while True:
        looked_s = time.monotonic()
        with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
            if _found(file, is_there):
                # wandb-core leaves it to the system when its file goes to the disk.
                os.fsync(file.fileno())
                return True
        now_s = time.monotonic()
        if now_s >= until_s:
            return False
        # The search gets a third of the time: W&B's client needs the interpreter, too.
        time.sleep(max(_PAUSE_S, 2 * (now_s - looked_s)))


def _kind_of(record: Any) -> str | None:
    kind: str | None = record.WhichOneof("record_type")
    return kind


def _found(file: FileIO, is_there: Callable[[Any], bool | None]) -> bool:
    """What the last record in an open file says that says anything; False where there is none."""
    from wandb.proto import wandb_internal_pb2

    messages: Any = wandb_internal_pb2  # made at run time, without types
    size = file.seek(0, os.SEEK_END)
    blocks = 2
    while True:
        # Chunks of records cross no block, so a search may begin at any block.
        begin = max(0, size // _BLOCK + 1 - blocks) * _BLOCK
        file.seek(begin)
        data = file.read(size - begin)
        for record in reversed(list(_records(data, 0 if begin else _FILE_HEADER))):
            content = _content(record)
            said = None if content is None else is_there(messages.Record.FromString(content))
            if said is not None:
                return said
        if not begin:
            return False
        # Records are longer than that.
        blocks *= 4


def _records(data: bytes, position: int) -> Iterator[list[memoryview]]:
    """The records that begin and end in some blocks, each as its chunks, and a chunk with its header."""
    view = memoryview(data)
    chunks: list[memoryview] = []
    while True:
        left = _BLOCK - position % _BLOCK
        if left < _CHUNK_HEADER.size:
            position += left
        begin, position = position, position + _CHUNK_HEADER.size
        if position > len(data):
            return
        _, length, kind = _CHUNK_HEADER.unpack_from(data, begin)
        position += length
        if kind == 0 or position > len(data):
            return
        if kind in (_WHOLE, _FIRST):
            chunks = []
        elif not chunks:
            continue
        chunks.append(view[begin:position])
        if kind in (_WHOLE, _LAST):
            yield chunks


def _content(record: list[memoryview]) -> bytes | None:
    """What a record holds; None where it is not there as it was written."""
    for chunk in record:
        checksum, _, _ = _CHUNK_HEADER.unpack_from(chunk)
        if zlib.crc32(chunk[_CHUNK_HEADER.size - 1 :]) != checksum:
            return None
    return b"".join(chunk[_CHUNK_HEADER.size :] for chunk in record)
