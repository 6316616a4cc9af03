"""Writes to MLflow what ranks have printed: an artifact for each, which grows."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tracelet_otel.protocol.console import whole
from tracelet_otel.protocol.files import RunFile

if TYPE_CHECKING:
    from mlflow import MlflowClient

_GROWTH: Final = 2


@dataclass(frozen=True)
class _Upload:
    """The last upload of a file."""

    size: int
    age_s: float
    """Seconds since the first one."""


class MlflowConsole:
    """The artifacts of one run.

    MLflow can only replace an artifact as a whole. So a file is uploaded again when it is twice as large as the last
    time, or twice as old, and at its end: in all that is a few times its size, and not more the longer a run goes on.

    Args:
        client: MLflow's client.
        run_id: MLflow's id of the run.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client = client
        self._run_id = run_id
        self._last: dict[str, _Upload] = {}
        self._began_s: dict[str, float] = {}

    def write(self, file: RunFile, content: Path) -> None:
        """Upload all that a rank has printed so far, where it is time to do so.

        Args:
            file: an entry with lines of a rank.
            content: its content.
        """
        source = whole(file, content)
        size, now_s = source.stat().st_size, time.monotonic()
        age_s = now_s - self._began_s.setdefault(file.name, now_s)
        last = self._last.get(file.name)
        is_due = last is None or size >= _GROWTH * last.size or age_s >= _GROWTH * max(last.age_s, 1.0)
        is_new = last is None or size != last.size
        if is_new and (is_due or file.is_last):
            # A copy, since that file grows: a client that sends more than it has announced breaks its next request.
            with tempfile.TemporaryDirectory(dir=source.parent) as folder:
                copy = shutil.copyfile(source, Path(folder, file.name))
                self._client.log_artifact(self._run_id, str(copy))
            self._last[file.name] = _Upload(size, age_s)
