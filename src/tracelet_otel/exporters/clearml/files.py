"""Writes the files of a run to ClearML: artifacts, debug samples, plots, and a model for each checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from tracelet_otel.exporters.clearml.checkpoints import ClearmlCheckpoints, ModelStore
from tracelet_otel.exporters.clearml.console import LogStore, write_console
from tracelet_otel.exporters.clearml.content import files_of, packed
from tracelet_otel.exporters.clearml.events import picture_plot, plain_plot, plot_event, sample_event, table_plot
from tracelet_otel.exporters.clearml.mapping import Graph, Graphs
from tracelet_otel.exporters.clearml.places import Places
from tracelet_otel.exporters.files import told_where_gone
from tracelet_otel.protocol.files import PACKAGES_FILE, FileKind, RunFile
from tracelet_otel.protocol.run_identity import RunIdentity

MOST_FILES: Final = 100
"""A directory with more files is one artifact, an archive."""


class FileStore(ModelStore, LogStore, Protocol):
    """Where the files of one task are kept: a server, or a folder."""

    task_id: str

    def find(self, run: RunIdentity) -> None:
        """Find the task, as `FileWriter.open` does."""
        ...

    def add(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Store events. One with the same identity is replaced."""
        ...

    def set_artifacts(self, artifacts: Sequence[Mapping[str, Any]]) -> None:
        """Store what is known of artifacts. One with the same key is replaced."""
        ...

    def set_packages(self, packages: str) -> None:
        """Store the installed packages, a line `name==version` for each, where the task's page shows them."""
        ...


@dataclass(frozen=True)
class _Opened:
    """What is known of the task once it is found."""

    places: Places
    checkpoints: ClearmlCheckpoints


class ClearmlFiles:
    """A `FileWriter` of one run in ClearML.

    Args:
        store: where files are kept.
    """

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._graphs = Graphs()

    def open(self, run: RunIdentity) -> None:
        """Find the task."""
        self._store.find(run)
        places = Places(run, self._store.task_id)
        self._opened = _Opened(places, ClearmlCheckpoints(self._store, places))

    def write(self, file: RunFile, content: Path | None) -> None:
        """Store a file as what it is."""
        with told_where_gone(content):
            self._write(file, content)

    def _write(self, file: RunFile, content: Path | None) -> None:
        if file.kind is FileKind.CHECKPOINT:
            self._opened.checkpoints.write(file, content)
        elif content is not None and file.kind is FileKind.CONSOLE:
            write_console(self._store, file, content)
        elif content is not None and file.kind is FileKind.FILE:
            self._store_artifacts(file, content)
            if file.is_own and file.name == PACKAGES_FILE:
                self._store.set_packages(content.read_text(encoding="utf-8"))
        elif content is not None:
            self._store.add([self._event(file, content)])

    def _store_artifacts(self, file: RunFile, content: Path) -> None:
        if not content.is_dir():
            self._store.set_artifacts([self._artifact(file, file.path, content)])
            return
        files = files_of(content)
        if len(files) > MOST_FILES:
            with packed(content) as archive:
                self._store.set_artifacts([self._artifact(file, file.path, archive, "archive")])
        elif files:
            made = [self._artifact(file, f"{file.path}/{name}", path) for name, path in files.items()]
            self._store.set_artifacts(made)

    def _artifact(self, file: RunFile, key: str, content: Path, kind: str = "custom") -> dict[str, Any]:
        kept = self._store.keep(self._opened.places.artifact(key, content.name), content)
        return kept.artifact(key, content.name, file.time_unix_nano, kind)

    def _event(self, file: RunFile, content: Path) -> dict[str, Any]:
        graph, task_id = self._graphs.graph(file.name), self._store.task_id
        if file.kind is FileKind.TABLE:
            return plot_event(file, graph, task_id, table_plot(_read(content), graph))
        if file.kind is FileKind.FIGURE and content.suffix == ".json":
            return plot_event(file, graph, task_id, plain_plot(_read(content)))
        place, address = self._sample(file, graph, content)
        if file.kind is FileKind.FIGURE:
            return plot_event(file, graph, task_id, picture_plot(content, address, graph))
        return sample_event(file, graph, task_id, place, address)

    def _sample(self, file: RunFile, graph: Graph, content: Path) -> tuple[str, str]:
        place = self._opened.places.sample(file, graph, content.name)
        return place, self._store.keep(place, content).address


def _read(content: Path) -> Any:
    return json.loads(content.read_text(encoding="utf-8"))
