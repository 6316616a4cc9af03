"""Writes a run as JSON lines: one for the run, one for each reading, hyperparameter and end."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tracelet_jsonl import JsonlOptions
from tracelet_otel.errors import ConfigurationError, TrackerUnavailableError
from tracelet_otel.exporters.base import RunLocation
from tracelet_otel.protocol.decode import Param, Reading
from tracelet_otel.protocol.run_identity import RunIdentity
from tracelet_otel.settings import Settings


class JsonlTracker:
    """A file for each run.

    Args:
        settings: of the run.
        options: where the files are.
    """

    name = "jsonl"
    batch_size = 5000

    def __init__(self, settings: Settings, options: JsonlOptions) -> None:
        self._directory = Path(options.jsonl_directory or "")
        self._continued = settings.run_id
        self._there: Counter[str] = Counter()
        self._file: IO[str] | None = None

    def open(self, run: RunIdentity) -> RunLocation:
        """Create the file, or go on in it: the process before this one may have been killed."""
        path = self._directory / f"{self._continued or run.run_id}.jsonl"
        if self._continued and not path.exists():
            raise ConfigurationError(f"there is no run to continue: {path}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # What came last before a kill comes again, and is not written twice.
            self._there = Counter(whole_lines(path))
            self._file = path.open("a", encoding="utf-8", newline="\n")
        except OSError as error:
            raise TrackerUnavailableError(f"{path} cannot be written: {error}") from error
        attributes = {name: str(value) for name, value in run.attributes.items()}
        self._write([json.dumps({"run": run.run_name, "project": run.project, "attributes": attributes})])
        return RunLocation(str(path))

    def refusals(self, readings: Sequence[Reading]) -> Mapping[int, str]:
        """There is nothing that a line of JSON could not hold."""
        return {}

    def log_readings(self, readings: Sequence[Reading]) -> None:
        """Write a line for each reading. NaN and infinities have their names, as JSON has no numbers for them."""
        lines = [
            json.dumps(
                {
                    "metric": one.name,
                    "step": one.step,
                    "value": repr(float(one.value)),
                    "time_unix_nano": one.time_unix_nano,
                    "is_system": one.is_system,
                }
            )
            for one in readings
        ]
        self._write([line for line in lines if not self._is_there(line)])

    def log_params(self, params: Mapping[str, Param]) -> None:
        """Write a line for each hyperparameter."""
        self._write([json.dumps({"param": name, "value": param.text}) for name, param in params.items()])

    def close(self, outcome: str | None, end_unix_nano: int | None = None) -> None:
        """Write how the run ended."""
        self._write([json.dumps({"outcome": outcome or "unknown", "end_unix_nano": end_unix_nano})])
        if self._file is not None:
            self._file.close()

    def _write(self, lines: Sequence[str]) -> None:
        """Write lines, all or none, so that they survive a crash of the machine."""
        assert self._file is not None
        end = self._file.tell()
        try:
            self._file.write("".join(f"{line}\n" for line in lines))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(end)
            raise TrackerUnavailableError(f"{self._file.name} cannot be written: {error}") from error

    def _is_there(self, line: str) -> bool:
        self._there[line] -= 1
        return self._there[line] >= 0


def whole_lines(path: Path) -> list[str]:
    """The lines of a file; what a kill has left of a last one is cut off."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
    return whole.decode().splitlines()
