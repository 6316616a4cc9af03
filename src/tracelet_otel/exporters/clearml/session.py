"""Writes a ClearML offline session: a folder for `Task.import_offline_session`.

`Task.init` is not used for it: it would seed the random generators of its process, fork, and lose what was reported in
the last seconds before a kill.

Source of the format: what `Task.init` in offline mode writes, and what `Task.import_offline_session` reads.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tracelet_otel.errors import ConfigurationError, TrackerUnavailableError
from tracelet_otel.exporters.clearml.content import files_of
from tracelet_otel.exporters.clearml.mapping import (
    GENERAL,
    PROPERTIES,
    SCALAR,
    Graph,
    described,
    description,
    items,
    status_of,
)
from tracelet_otel.protocol.decode import Param
from tracelet_otel.protocol.failure import Failure
from tracelet_otel.protocol.run_identity import RunIdentity

_TASK: Final = "task.json"
_EVENTS: Final = "metrics.jsonl"
_LOG: Final = "log.jsonl"
_OUTCOME: Final = "outcome: "


class OfflineSession:
    """A task in a folder. Events are on the disk when `add` returns. Thread-safe.

    Args:
        directory: the directory of all sessions.
        wanted: id of the run to continue; None for that of the run, whose session is made where it is missing.

    Raises from each method:
        TrackerUnavailableError: a file cannot be read or written.
    """

    def __init__(self, directory: Path, wanted: str | None) -> None:
        self._directory = directory
        self._wanted = wanted
        self._task: dict[str, Any] = {}
        self._lock = threading.RLock()
        self.task_id = ""
        """The session's id; empty before `begin`."""
        self.is_continued = False
        """Whether it was there before `begin`."""

    @property
    def archive(self) -> Path:
        """The file that the session is packed into when it ends."""
        return self._directory / f"{self.task_id}.zip"

    @property
    def folder(self) -> Path:
        """The session's folder."""
        return self._directory / self.task_id

    @property
    def data(self) -> Path:
        """The folder of files whose content the import gives to the server."""
        return self.folder / "data"

    @property
    def is_begun(self) -> bool:
        """Whether the session was created, or continued."""
        return bool(self._task)

    @contextlib.contextmanager
    def editing(self) -> Iterator[dict[str, Any]]:
        """The task, to be changed, which is stored afterwards."""
        with self._lock:
            yield self._task
            self._store()

    def begin(self, run: RunIdentity) -> str:
        """Create the session, or continue it where it exists.

        Returns:
            Its folder.

        Raises:
            ConfigurationError: there is no session to continue.
        """
        with self._lock:
            return self._begin(run)

    def _begin(self, run: RunIdentity) -> str:
        self.task_id = f"offline-{self._wanted or run.run_id}"
        exists = self.is_continued = (self.folder / _TASK).exists()
        if self._wanted is not None and not exists:
            raise ConfigurationError(f"no run to continue: there is no ClearML session {self.folder}")
        try:
            if exists:
                self._task = json.loads((self.folder / _TASK).read_text())
            else:
                self.data.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise TrackerUnavailableError(f"the ClearML session {self.folder} cannot be used: {error}") from None
        if exists:
            self._task["offline_folder"] = self.folder.as_posix()
            # If a kill has cut the last line in half, the next event is on a line of its own.
            self._append("\n")
            if (self.folder / _LOG).exists():
                self._append("\n", _LOG)
            return str(self.folder)
        # The import cannot read a session whose first line was cut in half, so that line has no events.
        self._append("[]\n")
        named = {"id": self.task_id, "project_name": run.project, "offline_folder": self.folder.as_posix()}
        self._task = {**description(run), **named, "tags": []}
        self._store()
        return str(self.folder)

    def graphs(self) -> list[Graph]:
        """Graphs of which the session has points already."""
        found: set[Graph] = set()
        with (self.folder / _EVENTS).open() as lines:
            for line in lines:
                try:
                    scalars = [event for event in json.loads(line or "[]") if event["type"] == SCALAR]
                    found.update(Graph(event["metric"], event["variant"]) for event in scalars)
                except ValueError:
                    continue  # cut in half by a kill
        return sorted(found)

    def properties(self) -> dict[str, str]:
        """The session's user properties, by name."""
        return {name: item["value"] for name, item in self._task["hyperparams"].get(PROPERTIES, {}).items()}

    def tags(self) -> list[str]:
        """The session's tags."""
        return list(self._task["tags"])

    def add(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Store events. Of those with the same graph and iteration, the import keeps the last."""
        self._append(json.dumps(events, allow_nan=False) + "\n")

    def add_log(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Store log events, of which the import keeps all."""
        self._append(json.dumps(events) + "\n", _LOG)

    def log(self) -> Iterator[Any]:
        """The log events that are stored."""
        with contextlib.suppress(FileNotFoundError), (self.folder / _LOG).open() as lines:
            for line in lines:
                with contextlib.suppress(ValueError):  # cut in half by a kill
                    yield from json.loads(line)

    def set_params(self, params: Mapping[str, Param]) -> None:
        """Store hyperparameters."""
        self._set_section(GENERAL, params)

    def set_properties(self, properties: Mapping[str, str]) -> None:
        """Store user properties."""
        self._set_section(PROPERTIES, properties)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags and comment."""
        with self.editing() as task:
            task.update(described(task["tags"], tags))

    def end(self, outcome: str | None, failure: Failure | None) -> None:
        """Pack the session. The import gives every task the status completed, so the outcome is stored as a tag."""
        with self.editing() as task:
            task.update(status_of(outcome, failure))
            tags = [tag for tag in task["tags"] if not tag.startswith(_OUTCOME)]
            task["tags"] = [*tags, f"{_OUTCOME}{outcome or 'unknown'}"]
        with self._lock:
            self._pack()

    def _set_section(self, section: str, values: Mapping[str, Any]) -> None:
        with self.editing() as task:
            task["hyperparams"].setdefault(section, {}).update(items(section, values))

    def _pack(self) -> None:
        part = self.archive.with_suffix(".part")
        try:
            with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
                for name, path in files_of(self.folder).items():
                    # What is large is packed already, or has numbers, which do not become much smaller.
                    kind = zipfile.ZIP_STORED if self.data in path.parents else zipfile.ZIP_DEFLATED
                    archive.write(path, name, kind)
            part.replace(self.archive)
        except OSError as error:
            raise TrackerUnavailableError(f"{self.archive} cannot be written: {error}") from None

    def _store(self) -> None:
        part = self.folder / f"{_TASK}.part"
        try:
            part.write_text(json.dumps(self._task, indent=1))
            part.replace(self.folder / _TASK)
        except OSError as error:
            raise TrackerUnavailableError(f"{self.folder / _TASK} cannot be written: {error}") from None

    def _append(self, text: str, name: str = _EVENTS) -> None:
        try:
            with self._lock, (self.folder / name).open("a") as lines:
                lines.write(text)
                lines.flush()
                os.fsync(lines.fileno())
        except OSError as error:
            raise TrackerUnavailableError(f"{self.folder / name} cannot be written: {error}") from None
