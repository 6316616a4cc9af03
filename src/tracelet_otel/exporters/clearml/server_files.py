"""Keeps the files of a task on a ClearML server: content on its files server, the rest by its REST API (`api`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from tracelet_otel.errors import TrackerUnavailableError
from tracelet_otel.exporters.clearml.api import (
    INVALID_MODEL,
    INVALID_STATUS,
    AnswerError,
    ApiConnection,
    ApiServer,
)
from tracelet_otel.exporters.clearml.checkpoints import ALIASES, FRAMEWORK, KnownWords, ModelEntry
from tracelet_otel.exporters.clearml.content import Content, KeptFile
from tracelet_otel.exporters.clearml.task import SYSTEM_TAG, add_events, find_task
from tracelet_otel.exporters.names import with_hash
from tracelet_otel.protocol.run_identity import RunIdentity

_PACKAGE: Final = "package"
"""System tag by which ClearML's client knows that a model's file is an archive of a directory."""
_KEEPER: Final = "tracelet.keeper:"
"""Beginning of the system tag that says which callback keeps a model's checkpoint."""
_FIELDS: Final = ("id", "name", "uri", "tags", "system_tags", "ready")
_LONGEST: Final = 250
_LAST_LOG: Final = 500
"""So many of the last log events are asked for, since an earlier process may have stored some of an entry."""


@dataclass
class _Model:
    """A model of ours on the server."""

    model_id: str
    uri: str
    words: list[str]
    keeper: str


class ServerFiles:
    """A `FileStore` on a server, with a connection of its own.

    Args:
        server: the server.
        wanted: id of the task that is continued; None for that of the run.

    Raises from each method:
        TrackerUnavailableError: the server does not answer, or does not accept the credentials.
        RunLostError: the task is not there any more.
        RefusedError: the server will never take it.
    """

    def __init__(self, server: ApiServer, wanted: str | None) -> None:
        self._api = ApiConnection(server)
        self._wanted = wanted
        self._models: dict[str, _Model] = {}
        self._names: dict[str, str] = {}
        """Ids of models by their names in the task."""
        self.task_id = ""
        """Id of the task; empty before `find`."""

    def find(self, run: RunIdentity) -> None:
        """Find the task, and the models that it has already."""
        found = find_task(self._api, self._wanted or run.run_id)
        if found is None:
            raise TrackerUnavailableError(f"ClearML at {self._api.shown} does not have the task yet")
        self.task_id = str(found["id"])
        self._project = found["project"]
        self._run_name = run.run_name
        task = self._call("tasks.get_by_id", {"task": self.task_id})["task"]
        outputs = (task.get("models") or {}).get("output") or []
        self._names = {one["name"]: one["model"] for one in outputs}
        self._models = {}
        for model in self._get_models({"task": [self.task_id]}):
            key, keeper = (_behind(model, prefix) for prefix in (SYSTEM_TAG, _KEEPER))
            if key:
                words = [word for word in model.get("tags") or [] if word in ALIASES]
                self._models[key] = _Model(model["id"], model.get("uri") or "", words, keeper)

    def keep(self, place: str, content: Path) -> KeptFile:
        """Send a file to the files server."""
        opened = Content(content)
        address = self._api.upload(place, opened)
        return KeptFile(address, opened.size, opened.digest)

    def add(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Store events."""
        add_events(self._api, self.task_id, events)

    def add_log(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Store log events."""
        add_events(self._api, self.task_id, events)

    def last_log(self) -> list[tuple[int, str]]:
        """Time in ms and text of the last log events."""
        wanted = {"task": self.task_id, "batch_size": _LAST_LOG, "navigate_earlier": True}
        events = self._call("events.get_task_log", wanted).get("events") or []
        return [(int(one["timestamp"]), str(one.get("msg", ""))) for one in events]

    def set_artifacts(self, artifacts: Sequence[Mapping[str, Any]]) -> None:
        """Store what is known of artifacts."""
        data = {"task": self.task_id, "artifacts": list(artifacts), "force": True}
        self._change_task("tasks.add_or_update_artifacts", data)

    def set_packages(self, packages: str) -> None:
        """Store the installed packages."""
        self._call("tasks.set_requirements", {"task": self.task_id, "requirements": {"pip": packages}})

    def model_words(self) -> dict[str, KnownWords]:
        """Keepers and words of models, by key."""
        return {key: KnownWords(model.keeper, model.words) for key, model in self._models.items()}

    def set_model(self, entry: ModelEntry, kept: KeptFile | None) -> None:
        """Store a model, and that it is one of the task's. A file of it that was there before goes with its address."""
        fields: dict[str, Any] = {
            # The name in lists of all models of a project.
            "name": f"{self._run_name} - {PurePosixPath(entry.name).stem}",
            "uri": entry.reference if kept is None else kept.address,
            "comment": entry.comment,
            "framework": FRAMEWORK,
            "task": self.task_id,
            "system_tags": [
                SYSTEM_TAG + entry.key,
                *([_KEEPER + entry.keeper] if entry.keeper else []),
                *([_PACKAGE] if entry.is_package else []),
            ],
        }
        known = self._models.get(entry.key)
        current = None if known is None else self._current(known.model_id)
        if known is None or current is None:
            if known is not None:
                self._forget(known.model_id)
            fields |= {"tags": list(entry.words), "project": self._project, "labels": {}, "ready": False}
            made = str(self._call("models.create", fields)["id"])
            known = _Model(made, fields["uri"], list(entry.words), entry.keeper)
        else:
            tags = _with_words(current, entry.words)
            self._call("models.edit", {**fields, "model": known.model_id, "tags": tags})
            if known.uri != fields["uri"]:
                self._api.delete(known.uri)
                known.uri = fields["uri"]
        self._models[entry.key] = known
        facts = [{"key": name, "type": "str", "value": value} for name, value in entry.facts.items()]
        self._call("models.add_or_update_metadata", {"model": known.model_id, "metadata": facts})
        self._attach(entry, known.model_id)

    def set_words(self, key: str, words: Sequence[str]) -> None:
        """Change our words among the tags of a model."""
        model_id = self._models[key].model_id
        current = self._current(model_id)
        if current is not None:
            self._call("models.edit", {"model": model_id, "tags": _with_words(current, words)})

    def remove_model(self, key: str) -> None:
        """Remove a model and its file. One that somebody has published stays, without our words."""
        model = self._models[key]
        current = self._current(model.model_id)
        if current is not None and current.get("ready"):
            self._call("models.edit", {"model": model.model_id, "tags": _with_words(current, [])})
        elif current is not None:
            self._api.delete(model.uri)
            # The server would remove the file some time later, when there may be another one in its place.
            data = {"model": model.model_id, "force": True, "delete_external_artifacts": False}
            try:
                self._api.request("models.delete", data)
            except AnswerError as error:
                if error.subcode != INVALID_MODEL:
                    raise self._api.translated(error, self.task_id) from None
        del self._models[key]
        self._forget(model.model_id)

    def _attach(self, entry: ModelEntry, model_id: str) -> None:
        """Make a model one of the task's. Of two of the same name, the later one's gets a hash."""
        known = [name for name, held in self._names.items() if held == model_id]
        free = entry.name if entry.name not in self._names else with_hash(entry.name, entry.key, _LONGEST)
        name = known[0] if known else free
        step = {} if entry.step is None else {"iteration": entry.step}
        data = {"task": self.task_id, "name": name, "model": model_id, "type": "output", **step}
        self._change_task("tasks.add_or_update_model", data)
        self._names[name] = model_id

    def _forget(self, model_id: str) -> None:
        """Let other models have the names of one that is gone."""
        self._names = {name: held for name, held in self._names.items() if held != model_id}

    def _current(self, model_id: str) -> dict[str, Any] | None:
        """What the server has of a model, since people change it in its pages; None where they have removed it."""
        found = self._get_models({"id": [model_id]})
        return found[0] if found else None

    def _get_models(self, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
        models: list[dict[str, Any]] = self._call("models.get_all", {**wanted, "only_fields": _FIELDS})["models"]
        return models

    def _change_task(self, endpoint: str, data: Mapping[str, Any]) -> None:
        try:
            self._api.request(endpoint, data)
        except AnswerError as error:
            if error.subcode != INVALID_STATUS:
                raise self._api.translated(error, self.task_id) from None
            # A server stops a task of which it has heard nothing for some hours.
            self._call("tasks.started", {"task": self.task_id, "force": True})
            self._call(endpoint, data)

    def _call(self, endpoint: str, data: Any) -> dict[str, Any]:
        return self._api.call(endpoint, data, self.task_id)


def _behind(model: Mapping[str, Any], prefix: str) -> str:
    """What the system tag of a model says that begins with a prefix; empty where it has none."""
    found = (tag.removeprefix(prefix) for tag in model.get("system_tags") or [] if tag.startswith(prefix))
    return next(found, "")


def _with_words(current: Mapping[str, Any], words: Sequence[str]) -> list[str]:
    return [*(tag for tag in current.get("tags") or [] if tag not in ALIASES), *words]
