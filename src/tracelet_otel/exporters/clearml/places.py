"""Paths of files on ClearML's files server, and in the folder of a session. Pure.

They have the form that ClearML's client gives them: `<project>/<task name>.<task id>/<what it is>/…`. The import of a
session relies on it.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath
from typing import Final

from tracelet_otel.exporters.clearml.mapping import Graph
from tracelet_otel.protocol.files import RunFile
from tracelet_otel.protocol.run_identity import RunIdentity

_UNSAFE: Final = re.compile(r"[#\"';?:@&+$%!\\\x00-\x1f\x7f]")
"""Characters that mean something in an address or in the head of a form."""
_LONGEST: Final = 240
"""Of a part of a path, in bytes."""
_LONGEST_SUFFIX: Final = 20
"""In characters."""
_LONGEST_NAME: Final = 120
"""Of a project or a task in a path, in bytes."""


class Places:
    """Paths for the files of one task.

    Args:
        run: the run.
        task_id: id of its task.
    """

    def __init__(self, run: RunIdentity, task_id: str) -> None:
        # The import of a session takes exactly two parts for project and task.
        self._root = f"{_cut(_part(run.project))}/{_cut(_part(run.run_name))}.{task_id}"

    def artifact(self, key: str, name: str) -> str:
        """Path of an artifact.

        Args:
            key: its name in the run.
            name: name of its file.
        """
        return f"{self._root}/artifacts/{_part(key)}/{_part(name)}"

    def sample(self, file: RunFile, graph: Graph, name: str) -> str:
        """Path of a picture, a text or a sound.

        Args:
            file: what it is. Files of two kinds may have the same name.
            graph: title and series under which it is shown.
            name: name of its file.
        """
        return f"{self._root}/metrics/{_part(graph.title)}/{_part(graph.series)}/{_part(f'{file.kind.value}_{name}')}"

    def model(self, key: str, name: str) -> str:
        """Path of a checkpoint.

        Args:
            key: what tells it from others of the same name.
            name: name of its file.
        """
        return f"{self._root}/models/{key}/{_part(name)}"


def is_of_model(address: str, key: str) -> bool:
    """Whether a file is that of a checkpoint.

    Args:
        address: path or address of the file.
        key: what tells the checkpoint from others.
    """
    return f"/models/{key}/" in address


def _part(text: str) -> str:
    """A part of a path: no character of it means anything elsewhere, and it is none of those with a meaning."""
    plain = _UNSAFE.sub(lambda found: f"0x{ord(found[0]):02x}", text).replace("/", ".slash.")
    if not plain.strip("."):
        return "_" * max(1, len(plain))
    if len(plain.encode()) <= _LONGEST:
        return plain
    return hashlib.sha256(text.encode()).hexdigest() + PurePosixPath(plain).suffix[:_LONGEST_SUFFIX]


def _cut(text: str) -> str:
    return text.encode()[:_LONGEST_NAME].decode(errors="ignore")
