"""Writes the files of a run to MLflow: artifacts, images by step, tables, and a logged model for each checkpoint."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import requests

from tracelet_otel.errors import RefusedError, TrackerUnavailableError
from tracelet_otel.exporters.mlflow.address import database_lock
from tracelet_otel.exporters.mlflow.beside import BesideTracker
from tracelet_otel.exporters.mlflow.checkpoints import MlflowCheckpoints
from tracelet_otel.exporters.mlflow.console import MlflowConsole
from tracelet_otel.exporters.mlflow.errors import translated
from tracelet_otel.protocol.files import FileKind, RunFile

if TYPE_CHECKING:
    from mlflow.entities import Run

_NOT_IN_KEYS: Final = re.compile(r"[^a-zA-Z0-9_\-./ ]")
"""What the key of an image may not have. Source: `MlflowClient.log_image`."""
_LATER: Final = (
    requests.codes.unauthorized,
    requests.codes.forbidden,
    requests.codes.request_timeout,
    requests.codes.too_many_requests,
)
"""Answers after which the same request may succeed, once somebody has mended what is wrong."""
_TABLES: Final = "mlflow.loggedArtifacts"
"""Tag by which MLflow's page finds tables."""


class MlflowFiles(BesideTracker):
    """A `FileWriter` of one run in MLflow."""

    def _begin(self, run: Run) -> None:
        self._checkpoints = MlflowCheckpoints(self._client, self._uri, run)
        self._run_id: str = run.info.run_id
        self._console = MlflowConsole(self._client, self._run_id)

    def write(self, file: RunFile, content: Path | None) -> None:
        """Store a file as what it is."""
        if content is not None and not content.exists():
            raise FileNotFoundError(f"{content} is not there any more")
        try:
            with translated(self._what, self._uri), database_lock(self._uri), _refused(self._what):
                if file.kind is FileKind.CHECKPOINT:
                    self._checkpoints.write(file, content)
                elif file.kind is FileKind.CONSOLE and content is not None:
                    self._console.write(file, content)
                elif content is not None:
                    self._store(file, content)
        except (TrackerUnavailableError, RefusedError) as error:
            if content is not None and not content.exists():
                raise FileNotFoundError(f"{content} is not there any more") from error
            raise

    def _store(self, file: RunFile, content: Path) -> None:
        folder, client = _folder(file.path), self._client
        if content.is_dir():
            client.log_artifacts(self._run_id, str(content), file.path)
        elif file.kind is FileKind.IMAGE and file.step is not None:
            self._store_image(file, content)
        elif file.kind is FileKind.FIGURE and content.suffix == ".json":
            self._store_interactive(file, content)
        else:
            client.log_artifact(self._run_id, str(content), folder)
            if file.kind is FileKind.TABLE:
                self._list_table(file.path)

    def _store_image(self, file: RunFile, content: Path) -> None:
        """Store an image of a step, which MLflow shows in a chart with a slider."""
        from PIL import Image

        key = _NOT_IN_KEYS.sub("_", file.name)
        with Image.open(content) as image:
            self._client.log_image(
                self._run_id,
                image,
                key=key,
                step=file.step,
                timestamp=file.time_unix_nano // 1_000_000,
                synchronous=True,
            )

    def _store_interactive(self, file: RunFile, content: Path) -> None:
        """Store a figure of plotly as a page, which MLflow shows as it is."""
        from plotly.io import read_json

        page = PurePosixPath(file.path).with_suffix(".html")
        with tempfile.TemporaryDirectory() as directory:
            made = Path(directory, page.name)
            read_json(str(content)).write_html(str(made), include_plotlyjs="cdn")
            self._client.log_artifact(self._run_id, str(made), _folder(str(page)))

    def _list_table(self, path: str) -> None:
        tags = self._client.get_run(self._run_id).data.tags
        known = json.loads(tags.get(_TABLES, "[]"))
        table = {"path": path, "type": "table"}
        if table not in known:
            self._client.set_tag(self._run_id, _TABLES, json.dumps([*known, table]))


@contextlib.contextmanager
def _refused(what: str) -> Iterator[None]:
    """Tell what a store of artifacts will never do from what it may do later; MLflow passes its errors on."""
    try:
        yield
    except (NotImplementedError, ImportError) as error:
        raise RefusedError(f"{what}: {type(error).__name__}: {error}") from None
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        is_final = 400 <= status < 500 and status not in _LATER  # noqa: PLR2004  # as HTTP has them
        if is_final:
            raise RefusedError(f"{what}: HTTP status {status}") from None
        raise


def _folder(path: str) -> str | None:
    folder = str(PurePosixPath(path).parent)
    return None if folder == "." else folder
