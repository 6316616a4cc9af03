"""Writes the files of a run to MLflow: artifacts, images by step, tables, and a logged model for each checkpoint."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import requests

from tracelet_otel.errors import RefusedError
from tracelet_otel.exporters.files import NO_PATH, told_where_gone
from tracelet_otel.exporters.mlflow.address import database_lock
from tracelet_otel.exporters.mlflow.beside import BesideTracker
from tracelet_otel.exporters.mlflow.checkpoints import MlflowCheckpoints
from tracelet_otel.exporters.mlflow.console import MlflowConsole
from tracelet_otel.exporters.mlflow.errors import translated
from tracelet_otel.exporters.mlflow.mapping import MAX_TAG_LENGTH
from tracelet_otel.exporters.names import with_hash
from tracelet_otel.protocol.files import FileKind, RunFile

if TYPE_CHECKING:
    from mlflow.entities import Run

_NOT_IN_KEYS: Final = re.compile(r"[^a-zA-Z0-9_\-./ ]")
"""What the key of an image may not have. Source: `MlflowClient.log_image`."""
_LONGEST_KEY: Final = 120
"""In characters, of an image's key: MLflow makes a file's name of it, and adds 100 at most."""
_IMAGES: Final = "images"
"""Directory of a run's artifacts in which MLflow keeps images of steps."""
_SHOWN_IMAGE: Final = re.compile(r".*/(?P<key>.+)[+%]step[+%](?P<step>\d+)[+%]timestamp[+%](?P<ms>\d+)[+%].+\.webp")
"""Path of the smaller copy of an image, which MLflow stores last."""
_LATER: Final = (
    requests.codes.unauthorized,
    requests.codes.forbidden,
    requests.codes.request_timeout,
    requests.codes.too_many_requests,
)
"""Answers after which the same request may succeed, once somebody has mended what is wrong."""
_HAS_IMAGES: Final = "mlflow.loggedImages"
_TABLES: Final = "mlflow.loggedArtifacts"
"""Tag by which MLflow's page finds tables."""


class MlflowFiles(BesideTracker):
    """A `FileWriter` of one run in MLflow."""

    def _begin(self, run: Run) -> None:
        self._checkpoints = MlflowCheckpoints(self._client, self._uri, run)
        self._run_id: str = run.info.run_id
        self._console = MlflowConsole(self._client, self._run_id)
        self._images: set[tuple[str, int, int]] | None = None
        """Key, step and time in ms of images that are there; None where that has to be looked up."""

    def write(self, file: RunFile, content: Path | None) -> None:
        """Store a file as what it is."""
        with told_where_gone(content):
            try:
                with self._calls():
                    self._write(file, content)
            except RefusedError:
                if file.kind is FileKind.CHECKPOINT and content is not None:
                    with self._calls():
                        self._checkpoints.refer(file)
                raise

    @contextlib.contextmanager
    def _calls(self) -> Iterator[None]:
        with translated(self._what, self._uri), database_lock(self._uri), _refused(self._what):
            yield

    def _write(self, file: RunFile, content: Path | None) -> None:
        if file.kind is FileKind.CHECKPOINT:
            self._checkpoints.write(file, content)
        elif file.kind is FileKind.CONSOLE and content is not None:
            self._console.write(file, content)
        elif content is not None:
            self._store(file, content)

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
        """Store an image of a step, which MLflow shows in a chart with a slider.

        MLflow would store it under a new name each time, and show it twice. So nothing is done where it is there.
        """
        from PIL import Image

        step, time_ms = file.step or 0, file.time_unix_nano // 1_000_000
        key = _NOT_IN_KEYS.sub("_", file.name)
        if key != file.name or len(key) > _LONGEST_KEY:
            key = with_hash(key, file.name, _LONGEST_KEY)
        known, self._images = self._images or self._stored_images(), None
        # MLflow writes the one or the other in the place of a slash.
        is_there = any((key.replace("/", sign), step, time_ms) in known for sign in "~#")
        if is_there:
            # A relay that was killed may not have set it, and MLflow's page looks for images where it is set.
            self._client.set_tag(self._run_id, _HAS_IMAGES, str(True))
        else:
            with Image.open(content) as image:
                self._client.log_image(self._run_id, image, key=key, step=step, timestamp=time_ms, synchronous=True)
            known.add((key.replace("/", "~"), step, time_ms))
        self._images = known

    def _stored_images(self) -> set[tuple[str, int, int]]:
        stored = (one.path for one in self._client.list_artifacts(self._run_id, _IMAGES))
        found = filter(None, map(_SHOWN_IMAGE.fullmatch, stored))
        return {(one["key"], int(one["step"]), int(one["ms"])) for one in found}

    def _store_interactive(self, file: RunFile, content: Path) -> None:
        """Store a figure of plotly as a page, which MLflow shows as it is."""
        from plotly.io import read_json

        page = PurePosixPath(file.path).with_suffix(".html")
        with tempfile.TemporaryDirectory() as directory:
            made = Path(directory, page.name)
            read_json(str(content)).write_html(str(made), include_plotlyjs="cdn")
            self._client.log_artifact(self._run_id, str(made), _folder(str(page)))

    def _list_table(self, path: str) -> None:
        """Tell MLflow's page of a table. As many as there is room for are told, the last ones."""
        tags = self._client.get_run(self._run_id).data.tags
        known: list[Any] = []
        with contextlib.suppress(ValueError):  # MLflow cuts a tag that is too long
            known = list(json.loads(tags.get(_TABLES, "[]")))
        table = {"path": path, "type": "table"}
        if table not in known:
            known.append(table)
            while len(text := json.dumps(known)) > MAX_TAG_LENGTH:
                del known[0]
            self._client.set_tag(self._run_id, _TABLES, text)


@contextlib.contextmanager
def _refused(what: str) -> Iterator[None]:
    """Tell what a store of artifacts will never do from what it may do later; MLflow passes its errors on."""
    try:
        yield
    except (NotImplementedError, ImportError) as error:
        raise RefusedError(f"{what}: {type(error).__name__}: {error}") from None
    except OSError as error:
        if error.errno in NO_PATH:
            raise RefusedError(f"{what}: there can be no such file: {error.strerror}") from None
        if not isinstance(error, requests.HTTPError):
            raise
        status = error.response.status_code if error.response is not None else 0
        is_final = 400 <= status < 500 and status not in _LATER  # noqa: PLR2004  # as HTTP has them
        if is_final:
            raise RefusedError(f"{what}: HTTP status {status}") from None
        raise


def _folder(path: str) -> str | None:
    folder = str(PurePosixPath(path).parent)
    return None if folder == "." else folder
