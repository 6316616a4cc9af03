"""The content of a file, read once and in parts: it may be larger than the memory."""

from __future__ import annotations

import hashlib
import mimetypes
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final
from uuid import uuid4

PART: Final = ".part"
"""Name of a file that is being written."""
_AT_ONCE: Final = 2**20
"""In bytes."""


class Content:
    """What is in a file. Its size is that at the time when it is opened, also where it grows afterwards.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self.size: int = path.stat().st_size
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """SHA-256 of what was read, in hexadecimal."""
        return self._hash.hexdigest()

    def parts(self, file: BinaryIO) -> Iterator[bytes]:
        """Read the file from its beginning.

        Args:
            file: the file, which was just opened.

        Raises:
            OSError: it has become shorter.
        """
        self._hash = hashlib.sha256()
        left = self.size
        while left:
            part = file.read(min(_AT_ONCE, left))
            if not part:
                raise OSError(f"{self.path} has become shorter while it was read")
            self._hash.update(part)
            left -= len(part)
            yield part

    def copy(self, target: Path) -> None:
        """Copy it to a file, which is on the disk and whole when it appears under its name."""
        part = target.with_name(PART)
        with self.path.open("rb") as source:
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as made:
                made.writelines(self.parts(source))
                made.flush()
                os.fsync(made.fileno())
        part.replace(target)


@dataclass(frozen=True)
class KeptFile:
    """A file in the store."""

    address: str
    size: int
    """In bytes."""
    digest: str
    """SHA-256, in hexadecimal."""

    def artifact(self, key: str, name: str, time_unix_nano: int, kind: str = "custom") -> dict[str, Any]:
        """What ClearML has to know of an artifact whose content this is.

        Args:
            key: its name in the run.
            name: name of its file.
            time_unix_nano: when it was recorded.
            kind: `archive` for one of a directory.
        """
        content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return {
            "key": key,
            "type": kind,
            "mode": "output",
            "uri": self.address,
            "hash": self.digest,
            "content_size": self.size,
            "timestamp": time_unix_nano // 1_000_000_000,
            "type_data": {"content_type": content_type, "preview": f"{name} - {self.size} bytes"},
        }


class FormBody:
    """A form with one file, as the body of a request: its length is known, and it is read while it is sent.

    Args:
        name: name of the form's field, and of the file.
        content: the file.
    """

    def __init__(self, name: str, content: Content) -> None:
        boundary = uuid4().hex
        self.content_type: Final = f"multipart/form-data; boundary={boundary}"
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
        self._head = f"{head}Content-Type: application/octet-stream\r\n\r\n".encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._content = content
        self._file: BinaryIO

    def __enter__(self) -> FormBody:
        """Open the file.

        Raises:
            FileNotFoundError: it is not there.
        """
        self._file = self._content.path.open("rb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._head) + self._content.size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        yield from self._content.parts(self._file)
        yield self._tail


def files_of(directory: Path) -> dict[str, Path]:
    """All files in a directory and below it, by their paths in it, in order.

    A link whose file is gone is one of them, so that nobody takes the others for all.
    """
    found = sorted(path for path in directory.rglob("*") if not path.is_dir())
    return {path.relative_to(directory).as_posix(): path for path in found}


@contextmanager
def packed(directory: Path) -> Iterator[Path]:
    """An archive of a directory as long as it is needed, beside it, where there is room for what is as large."""
    with tempfile.TemporaryDirectory(prefix=".zip-", dir=directory.parent) as place:
        archive = Path(place, f"{directory.name[:200]}.zip")
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED, strict_timestamps=False) as made:
            for name, path in files_of(directory).items():
                made.write(path, name)
        yield archive
