"""Writes the checkpoints of a run to W&B: each is a version of the run's artifact of type `model`."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tracelet_otel.errors import RefusedError
from tracelet_otel.exporters.wandb.folder import put
from tracelet_otel.exporters.wandb.history import RunHistory
from tracelet_otel.exporters.wandb.shared import SharesRun
from tracelet_otel.exporters.wandb.upload import wait_for_upload
from tracelet_otel.protocol.files import UNIQUE_ALIASES, RunFile, aliases_of, files_in

if TYPE_CHECKING:
    import wandb

_FACTS: Final = "checkpoint.json"
"""File of a version that has no checkpoint in it."""
_FOLDER: Final = "checkpoints"
"""In the folder of a run. What W&B uploads of checkpoints is there, offline until `wandb sync`."""


class WandbCheckpoints:
    """The checkpoints of one run. What the training removes stays: W&B's client of a run can delete no version.

    Args:
        shared: the run.
    """

    def __init__(self, shared: SharesRun) -> None:
        self._shared = shared
        self._steps: dict[str, int | None] = {}
        """At which step each checkpoint was written that is a version, by path."""

    def write(self, file: RunFile, content: Path | None) -> None:
        """Store a checkpoint as a version. The same one again is the same version.

        Args:
            file: what it is.
            content: its file or directory; None where it stays where the training has written it.

        Raises:
            FileNotFoundError: the content is gone.
        """
        assert file.checkpoint is not None  # noqa: S101
        path = file.checkpoint.path
        is_known = content is None and path in self._steps and self._steps[path] == file.step
        if file.checkpoint.is_removed or (is_known and not file.checkpoint.is_best):
            # It is a version already; what newer ones are called is taken from it by W&B.
            return

        def record(history: RunHistory) -> None:
            run.log_artifact(artifact, aliases=aliases)
            history.wait_for_artifact(run, artifact.digest)

        run = self._shared.begun()
        artifact = _artifact(run, file, content)
        aliases = [word for word in aliases_of(file.checkpoint) if word in UNIQUE_ALIASES]  # one is that of one version
        if run.offline:
            self._shared.alone(run, record)
        else:
            self._shared.beside(run, lambda: _upload(run, artifact, aliases))
        self._steps[path] = file.step


def _artifact(run: wandb.Run, file: RunFile, content: Path | None) -> wandb.Artifact:
    import wandb

    metadata = _metadata(file)
    try:
        # As `WandbLogger` calls it.
        artifact = wandb.Artifact(f"model-{run.id}", "model", metadata=metadata)
    except ValueError as error:
        raise RefusedError(f"W&B: {error}") from None
    kept = Path(run.settings.sync_dir, _FOLDER, str(time.time_ns()))
    if content is None:
        # Its digest is made of this, so that a checkpoint that was written again is a new version. No reference to the
        # file: W&B could not download that without having read all of the file.
        kept.mkdir(parents=True)
        facts = kept / _FACTS
        facts.write_text(json.dumps(metadata, indent=1), encoding="utf-8")
        artifact.add_file(str(facts), name=_FACTS, policy="immutable", skip_cache=True)
        return artifact
    for behind, found in files_in(content):
        name = f"{content.name}{behind}"
        if run.offline:
            # What is in the spool goes away, and what W&B would copy is as large as all checkpoints.
            put(found, kept / name)
        local = str(kept / name if run.offline else found)
        artifact.add_file(local, name=name, policy="immutable", skip_cache=True)
    return artifact


def _metadata(file: RunFile) -> dict[str, Any]:
    found = file.checkpoint
    assert found is not None  # noqa: S101
    # W&B takes no numbers that JSON cannot hold.
    score = found.score if found.score is None or math.isfinite(found.score) else str(found.score)
    known = {
        "score": score,
        "monitor": found.monitor,
        "mode": found.mode,
        "step": file.step,
        "epoch": found.epoch,
        "path": found.path,
        "original_filename": file.name,
        "size": file.size,
    }
    return {name: value for name, value in known.items() if value is not None}


def _upload(run: wandb.Run, artifact: wandb.Artifact, aliases: list[str]) -> None:
    """Log an artifact, and wait until the server has all of it."""
    try:
        logged = run.log_artifact(artifact, aliases=aliases)
    except ValueError as error:
        raise RefusedError(f"W&B does not take the checkpoint: {error}") from None
    wait_for_upload(logged, "the checkpoint")
