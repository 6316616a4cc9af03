"""Keeps the files of a task in the folder of an offline session, in the form that the import reads.

A checkpoint's file is an artifact, since the import gives artifacts to the server of whoever imports. Of a model it
would only take the path on the machine where the session was written, and nothing that is in an archive.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from tracelet_otel.errors import TrackerUnavailableError
from tracelet_otel.exporters.clearml.checkpoints import ALIASES, FRAMEWORK, KnownWords, ModelEntry
from tracelet_otel.exporters.clearml.content import Content, KeptFile
from tracelet_otel.exporters.clearml.places import is_of_model
from tracelet_otel.exporters.clearml.session import OfflineSession
from tracelet_otel.protocol.run_identity import RunIdentity

_KEY: Final = "offline-"
"""Beginning of the id of a model."""
_KEEPER: Final = "tracelet_keeper"
"""Of a model, which callback keeps its checkpoint. The import passes it over."""
_CHECKPOINTS: Final = "checkpoints/"
"""Beginning of the key of an artifact that is a checkpoint."""


class SessionFiles:
    """A `FileStore` in the folder of a session.

    Args:
        session: the session, to which the tracker writes as well.

    Raises from each method:
        TrackerUnavailableError: a file cannot be read or written.
    """

    def __init__(self, session: OfflineSession) -> None:
        self._session = session
        self.task_id = ""
        """The session's id; empty before `find`."""

    def find(self, run: RunIdentity) -> None:
        """Find the session."""
        if not self._session.is_begun:
            raise TrackerUnavailableError("the ClearML session is not there yet")
        self.task_id = self._session.task_id

    def keep(self, place: str, content: Path) -> KeptFile:
        """Copy a file into the session. It is not linked, since a training may write its file anew in its place."""
        opened, target = Content(content), self._session.data / place
        try:
            opened.copy(target)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise TrackerUnavailableError(f"{target} cannot be written: {error}") from None
        return KeptFile(target.as_posix(), opened.size, opened.digest)

    def add(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Store events. Of those with the same identity, the import keeps the last."""
        self._session.add(events)

    def add_log(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Store log events."""
        self._session.add_log(events)

    def last_log(self) -> list[tuple[int, str]]:
        """Time in ms and text of all log events."""
        return [(one["timestamp"], one["msg"]) for one in self._session.log()]

    def set_artifacts(self, artifacts: Sequence[Mapping[str, Any]]) -> None:
        """Store what is known of artifacts."""
        with self._session.editing() as task:
            _put(_artifacts(task), "key", *artifacts)

    def set_packages(self, packages: str) -> None:
        """Store the installed packages."""
        with self._session.editing() as task:
            task["script"]["requirements"] = {"pip": packages}

    def model_words(self) -> dict[str, KnownWords]:
        """Keepers and words of models, by key."""
        with self._session.editing() as task:
            return {
                model["id"].removeprefix(_KEY): KnownWords(
                    model.get(_KEEPER, ""), [tag for tag in model["init"]["tags"] if tag in ALIASES]
                )
                for model in _models(task)
            }

    def set_model(self, entry: ModelEntry, kept: KeptFile | None) -> None:
        """Store a model, which refers to where the training has written it, and its file as an artifact."""
        model = {
            "id": _KEY + entry.key,
            _KEEPER: entry.keeper,
            "init": {
                "name": entry.name,
                "comment": entry.comment,
                "tags": list(entry.words),
                "framework": FRAMEWORK,
                "config_text": None,
                "config_dict": None,
                "label_enumeration": None,
            },
            "weights": {
                "weights_filename": None,
                "upload_uri": None,
                "target_filename": None,
                "register_uri": entry.reference,
                "iteration": entry.step,
                "update_comment": False,
                "is_package": False,
            },
            "output_uri": None,
        }
        with self._session.editing() as task:
            if kept is None:
                self._drop_file(task, entry.key)
            else:
                key, name = f"{_CHECKPOINTS}{entry.name}", PurePosixPath(kept.address).name
                kind = "archive" if entry.is_package else "custom"
                _put(_artifacts(task), "key", kept.artifact(key, name, entry.time_unix_nano, kind))
            _put(_models(task), "id", model)

    def set_words(self, key: str, words: Sequence[str]) -> None:
        """Change the words of a model."""
        with self._session.editing() as task:
            for model in _models(task):
                if model["id"] == _KEY + key:
                    model["init"]["tags"] = list(words)

    def remove_model(self, key: str) -> None:
        """Remove a model, and its artifact."""
        with self._session.editing() as task:
            self._drop_file(task, key)
            models = _models(task)
            models[:] = [model for model in models if model["id"] != _KEY + key]

    def _drop_file(self, task: dict[str, Any], key: str) -> None:
        """Remove the artifact that is the file of a model."""
        artifacts = _artifacts(task)
        for artifact in list(artifacts):
            if is_of_model(artifact["uri"], key):
                artifacts.remove(artifact)
                with contextlib.suppress(OSError):
                    Path(artifact["uri"]).unlink()


def _models(task: dict[str, Any]) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = task.setdefault("offline_output_models", [])
    return models


def _artifacts(task: dict[str, Any]) -> list[dict[str, Any]]:
    artifacts: list[dict[str, Any]] = task.setdefault("execution", {}).setdefault("artifacts", [])
    return artifacts


def _put(entries: list[dict[str, Any]], name: str, *fresh: Mapping[str, Any]) -> None:
    """Put entries into a list, each in the place of one of the same name, if there is one."""
    names = {one[name] for one in fresh}
    entries[:] = [*(one for one in entries if one[name] not in names), *(dict(one) for one in fresh)]
