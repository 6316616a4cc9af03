"""Writes the files of a run to W&B: its files, media by step, and a version of an artifact for each checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracelet_otel.errors import RefusedError, TrackerUnavailableError
from tracelet_otel.exporters.files import NO_PATH, told_where_gone
from tracelet_otel.exporters.wandb.checkpoints import WandbCheckpoints
from tracelet_otel.exporters.wandb.console import write_console
from tracelet_otel.exporters.wandb.errors import translated
from tracelet_otel.exporters.wandb.folder import place_of, put, save
from tracelet_otel.exporters.wandb.history import RunHistory
from tracelet_otel.exporters.wandb.mapping import STEP, TIME
from tracelet_otel.exporters.wandb.media import artifact_of, column_of, encoded, made_of
from tracelet_otel.exporters.wandb.shared import SharesRun
from tracelet_otel.exporters.wandb.upload import wait_for_upload
from tracelet_otel.protocol.console import whole
from tracelet_otel.protocol.files import PACKAGES_FILE, FileKind, RunFile, files_in
from tracelet_otel.protocol.run_identity import RunIdentity

if TYPE_CHECKING:
    import wandb


class WandbFiles:
    """A `FileWriter` of one run in W&B.

    Args:
        shared: the run. Its rows go on while a file is written.
    """

    def __init__(self, shared: SharesRun) -> None:
        self._shared = shared
        self._checkpoints = WandbCheckpoints(shared)

    def open(self, run: RunIdentity) -> None:
        """See whether there is the run yet: it has to have been begun."""
        self._shared.begun()

    def write(self, file: RunFile, content: Path | None) -> None:
        """Store a file as what it is."""
        with told_where_gone(content):
            try:
                self._write(file, content)
            except OSError as error:
                if error.errno in NO_PATH:
                    raise RefusedError(f"W&B: there can be no file {file.name!r}: {error.strerror}") from None
                raise TrackerUnavailableError(f"W&B: {file.name!r} cannot be written: {error}") from None
            except Exception:
                with translated():
                    raise

    def _write(self, file: RunFile, content: Path | None) -> None:
        if file.kind is FileKind.CHECKPOINT:
            self._checkpoints.write(file, content)
        elif content is not None and file.kind is FileKind.CONSOLE:
            write_console(self._shared, file, content)
            if file.is_last:
                self._add_file(file, whole(file, content))
        elif content is not None and file.kind is FileKind.FILE:
            self._add_file(file, content)
        elif content is not None:
            self._add_media(file, content)

    def _add_file(self, file: RunFile, content: Path) -> None:
        def add(history: RunHistory) -> None:
            for name in names:
                save(run, name)
            if names:
                history.wait_for_file(run, names[-1])

        run = self._shared.begun()
        # The packages are where W&B's own client puts them. Another `config.yaml` is W&B's.
        place = file.path if file.is_own and file.path == PACKAGES_FILE else place_of(file.path)
        names = []
        for behind, found in files_in(content):
            names.append(f"{place}{behind}")
            put(found, Path(run.dir, names[-1]))
        self._shared.alone(run, add)

    def _add_media(self, file: RunFile, content: Path) -> None:
        column = column_of(file.name)
        try:
            made = made_of(file, content)
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise RefusedError(f"W&B cannot show {file.name!r}: {type(error).__name__}: {error}") from None
        place: dict[str, Any] = {TIME: file.time_unix_nano / 1e9}
        if file.step is not None:
            place[STEP] = file.step
        run = self._shared.begun()
        value = self._shared.beside(run, lambda: _uploaded(run, column, made))
        self._shared.alone(run, lambda history: history.add_media(run, column, value, place))


def _uploaded(run: wandb.Run, column: str, made: Any) -> dict[str, Any]:
    """Put media among the run's files; what W&B's page shows from an artifact is on the server before its row is."""
    value = encoded(run, column, made)
    artifact = None if run.offline else artifact_of(made)
    if artifact is not None:
        wait_for_upload(artifact, "the table")
    return value
