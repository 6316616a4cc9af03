"""Writes the checkpoints of a run to MLflow: each is a logged model, and an artifact where it was uploaded."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from tracelet_otel.protocol.files import UNIQUE_ALIASES, RunFile, aliases_of, facts_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_FOLDER: Final = "model/checkpoints"
"""Where `MLFlowLogger` keeps checkpoints."""
_PREFIX: Final = "tracelet.checkpoint."
"""Of the tags of a logged model."""
_ALIASES: Final = f"{_PREFIX}aliases"
_KEEPER: Final = f"{_PREFIX}keeper"
_PATH: Final = f"{_PREFIX}path"
_ARTIFACT: Final = f"{_PREFIX}artifact"
_IS_EXTERNAL: Final = "mlflow.model.isExternal"
"""Tag of a logged model of which MLflow keeps no files in its own form."""
_NOT_IN_NAMES: Final = re.compile(r"[/:.%\"']")
"""What the name of a logged model may not have. Source: MLflow's `_validate_logged_model_name`."""
_MODEL_TYPE: Final = "checkpoint"


class MlflowCheckpoints:
    """The checkpoints of one run.

    Args:
        client: MLflow's client.
        uri: address of the store.
        run: the run.
    """

    def __init__(self, client: MlflowClient, uri: str, run: Run) -> None:
        self._client = client
        self._uri = uri
        self._run = run.info
        self._models: dict[str, str] = {}
        """Ids of logged models, by the path of the checkpoint."""
        self._aliases: dict[str, tuple[str, str]] = {}
        """By path, which callback of the training keeps a checkpoint, and the aliases of its logged model."""
        self._uploaded: set[str] = set()
        """Paths of checkpoints of which the store has the file."""
        for model in client.search_logged_models([self._run.experiment_id], f"source_run_id = '{self._run.run_id}'"):
            path = (model.tags or {}).get(_PATH)
            if path is not None:
                self._models[path] = model.model_id
                self._aliases[path] = model.tags.get(_KEEPER, ""), model.tags.get(_ALIASES, "")
                if _ARTIFACT in model.tags:
                    self._uploaded.add(path)

    def write(self, file: RunFile, content: Path | None) -> None:
        """Store a checkpoint, or remove one that the training has removed.

        Args:
            file: what it is.
            content: its file or directory; None where it stays where the training has written it.
        """
        assert file.checkpoint is not None  # noqa: S101
        path = file.checkpoint.path
        if file.checkpoint.is_removed:
            self._remove(file, path)
            return
        if content is not None:
            self._upload(file, content)
            self._uploaded.add(path)
        tags = {f"{_PREFIX}{name}": value for name, value in facts_of(file).items()}
        keeper = tags[_KEEPER] = "" if file.checkpoint.keeper is None else str(file.checkpoint.keeper)
        tags[_ALIASES] = ",".join(aliases_of(file.checkpoint))
        if path in self._uploaded:
            tags[_ARTIFACT] = self._artifact(file)
        if path in self._models:
            self._client.set_logged_model_tags(self._models[path], tags)
        else:
            self._models[path] = self._create(file, tags)
        self._aliases[path] = keeper, tags[_ALIASES]
        self._take_aliases(path, keeper, UNIQUE_ALIASES & set(aliases_of(file.checkpoint)))

    def _create(self, file: RunFile, tags: dict[str, str]) -> str:
        name = _NOT_IN_NAMES.sub("_", file.name.removesuffix(".ckpt"))
        model = self._client.create_logged_model(
            self._run.experiment_id,
            name=name,
            source_run_id=self._run.run_id,
            tags={**tags, _IS_EXTERNAL: "true"},
            model_type=_MODEL_TYPE,
        )
        # Not `log_outputs`: the model has its run already, and a metric of it would come twice into the run's series.
        self._client.finalize_logged_model(model.model_id, "READY")
        return str(model.model_id)

    def _take_aliases(self, owner: str, keeper: str, unique: frozenset[str]) -> None:
        """Take words that only one checkpoint of a callback can have from its others."""
        for path, (kept_by, aliases) in self._aliases.items():
            left = ",".join(word for word in aliases.split(",") if word not in unique)
            if path != owner and kept_by == keeper and left != aliases:
                self._client.set_logged_model_tags(self._models[path], {_ALIASES: left})
                self._aliases[path] = kept_by, left

    def _upload(self, file: RunFile, content: Path) -> None:
        folder = self._artifact(file)
        if content.is_dir():
            self._client.log_artifacts(self._run.run_id, str(content), f"{folder}/{content.name}")
        else:
            self._client.log_artifact(self._run.run_id, str(content), folder)
        assert file.checkpoint is not None  # noqa: S101
        with tempfile.TemporaryDirectory() as directory:
            # Their form is that of `MLFlowLogger`, so that what reads its checkpoints can read these.
            facts = {**facts_of(file), "original_filename": file.name}
            Path(directory, "metadata.yaml").write_text(json.dumps(facts, indent=1), encoding="utf-8")
            Path(directory, "aliases.txt").write_text(str(aliases_of(file.checkpoint)), encoding="utf-8")
            self._client.log_artifacts(self._run.run_id, directory, folder)

    def _remove(self, file: RunFile, path: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if path in self._uploaded:
            store = get_artifact_repository(self._run.artifact_uri, tracking_uri=self._uri)
            store.delete_artifacts(self._artifact(file))  # type: ignore[no-untyped-call]
            self._uploaded.discard(path)
        model = self._models.get(path)
        if model is not None:
            self._client.delete_logged_model(model)
            del self._models[path], self._aliases[path]

    @staticmethod
    def _artifact(file: RunFile) -> str:
        return f"{_FOLDER}/{PurePosixPath(file.name).with_suffix('')}"
