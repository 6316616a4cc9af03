"""Writes the checkpoints of a run to MLflow: each is a logged model, and an artifact where it was uploaded."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tracelet_otel.exporters.names import with_hash
from tracelet_otel.protocol.files import UNIQUE_ALIASES, RunFile, aliases_of, facts_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

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
_SUFFIX: Final = ".ckpt"
"""Of Lightning's checkpoints; it is in no name that people see."""
_LONGEST_FOLDER: Final = 200
"""In characters, of a folder whose name another checkpoint has already."""


@dataclass
class _LoggedModel:
    """A logged model of ours."""

    model_id: str
    keeper: str = ""
    """Which callback of the training keeps its checkpoint."""
    aliases: str = ""
    folder: str | None = None
    """Where its file is among the run's artifacts, or may be by now; None where it was not uploaded."""


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
        self._models: dict[str, _LoggedModel] = {}
        """By the path of the checkpoint."""
        for model in self._stored():
            tags = model.tags or {}
            if _PATH in tags:
                found = tags.get(_KEEPER, ""), tags.get(_ALIASES, ""), tags.get(_ARTIFACT)
                self._models[tags[_PATH]] = _LoggedModel(model.model_id, *found)
                self._finalize(model)

    def write(self, file: RunFile, content: Path | None) -> None:
        """Store a checkpoint, or remove one that the training has removed.

        Args:
            file: what it is.
            content: its file or directory; None where it stays where the training has written it.
        """
        assert file.checkpoint is not None  # noqa: S101
        path = file.checkpoint.path
        if file.checkpoint.is_removed:
            self._remove(path)
            return
        tags = {f"{_PREFIX}{name}": value for name, value in facts_of(file).items()}
        keeper = tags[_KEEPER] = "" if file.checkpoint.keeper is None else str(file.checkpoint.keeper)
        if content is not None:
            self._upload(file, content, self._folder(file, tags))
        tags[_ALIASES] = ",".join(aliases_of(file.checkpoint))
        model = self._set(file, tags)
        model.keeper, model.aliases = keeper, tags[_ALIASES]
        self._take_aliases(model, UNIQUE_ALIASES & set(aliases_of(file.checkpoint)))

    def refer(self, file: RunFile) -> None:
        """Store where a checkpoint is whose file MLflow does not take."""
        assert file.checkpoint is not None  # noqa: S101
        model = self._models.get(file.checkpoint.path)
        if model is not None and model.folder is not None:
            self._client.delete_logged_model_tag(model.model_id, _ARTIFACT)
            model.folder = None
        self.write(file, None)

    def _stored(self) -> Iterator[LoggedModel]:
        """All logged models of the run."""
        wanted, token = f"source_run_id = '{self._run.run_id}'", None
        while True:
            found = self._client.search_logged_models([self._run.experiment_id], wanted, page_token=token)
            yield from found
            token = found.token
            if not token:
                return

    def _set(self, file: RunFile, tags: dict[str, str]) -> _LoggedModel:
        """Set tags of a checkpoint's logged model, which is made where there is none."""
        assert file.checkpoint is not None  # noqa: S101
        model = self._models.get(file.checkpoint.path)
        if model is None:
            model = self._models[file.checkpoint.path] = self._create(file, tags)
        else:
            self._client.set_logged_model_tags(model.model_id, tags)
        return model

    def _create(self, file: RunFile, tags: dict[str, str]) -> _LoggedModel:
        made = self._client.create_logged_model(
            self._run.experiment_id,
            name=_NOT_IN_NAMES.sub("_", file.name.removesuffix(_SUFFIX)),
            source_run_id=self._run.run_id,
            tags={**tags, _IS_EXTERNAL: "true"},
            model_type=_MODEL_TYPE,
        )
        # Not `log_outputs`: the model has its run already, and a metric of it would come twice into the run's series.
        self._finalize(made)
        return _LoggedModel(made.model_id)

    def _finalize(self, model: LoggedModel) -> None:
        """Tell that nothing of a logged model is pending, which a relay that was killed may not have told."""
        from mlflow.entities import LoggedModelStatus

        if not LoggedModelStatus.is_finalized(model.status):
            self._client.finalize_logged_model(model.model_id, "READY")

    def _take_aliases(self, owner: _LoggedModel, unique: frozenset[str]) -> None:
        """Take words that only one checkpoint of a callback can have from its others."""
        for model in self._models.values():
            left = ",".join(word for word in model.aliases.split(",") if word not in unique)
            if model is not owner and model.keeper == owner.keeper and left != model.aliases:
                self._client.set_logged_model_tags(model.model_id, {_ALIASES: left})
                model.aliases = left

    def _folder(self, file: RunFile, tags: dict[str, str]) -> str:
        """Folder for a checkpoint's file, which its logged model names.

        It names it before anything is uploaded: where this relay is killed meanwhile, the next one knows what there is
        to remove.
        """
        assert file.checkpoint is not None  # noqa: S101
        path = file.checkpoint.path
        model = self._models.get(path)
        if model is not None and model.folder is not None:
            return model.folder
        folder = f"{_FOLDER}/{file.name.removesuffix(_SUFFIX)}"
        others = [f"{one.folder}/" for one in self._models.values() if one.folder is not None]
        if any(one.startswith(f"{folder}/") or f"{folder}/".startswith(one) for one in others):
            folder = with_hash(folder, path, _LONGEST_FOLDER)
        self._set(file, {**tags, _ARTIFACT: folder}).folder = folder
        return folder

    def _upload(self, file: RunFile, content: Path, folder: str) -> None:
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

    def _remove(self, path: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        model = self._models.get(path)
        if model is None:
            return
        if model.folder is not None:
            store = get_artifact_repository(self._run.artifact_uri, tracking_uri=self._uri)
            store.delete_artifacts(model.folder)  # type: ignore[no-untyped-call]
        self._client.delete_logged_model(model.model_id)
        del self._models[path]
