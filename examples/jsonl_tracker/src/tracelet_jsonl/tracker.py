"""Writes a run as JSON lines: one for the run, one for each reading, hyperparameter and tag, and one for the end."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tracelet_jsonl import JsonlOptions
from tracelet_otel import semconv
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters.base import RunLocation
from tracelet_otel.protocol.decode import Param, Reading
from tracelet_otel.protocol.run_identity import RunIdentity
from tracelet_otel.settings import Settings


class JsonlTracker:
    """A `Tracker` that writes each run to a file of its own.

    Args:
        settings: settings of the run.
        options: the directory of the files.
    """

    name = "jsonl"
    batch_size = 5000

    def __init__(self, settings: Settings, options: JsonlOptions) -> None:
        self._directory = Path(options.jsonl_directory or "")
        self._run_to_continue = settings.run_id
        self._stored: Counter[str] = Counter()
        self._path = Path()

    def open(self, run: RunIdentity) -> RunLocation:
        """Create the file, or append to it where it exists: an earlier process of the run may have been killed."""
        path = self._directory / f"{self._run_to_continue or run.run_id}.jsonl"
        if self._run_to_continue and not path.exists():
            raise ConfigurationError(f"no run to continue: {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._stored = path, Counter(whole_lines(path))
        attributes = {name: str(value) for name, value in run.attributes.items()}
        self._write([json.dumps({"run": run.run_name, "project": run.project, "attributes": attributes})])
        return RunLocation(str(path))

    def refusals(self, readings: Sequence[Reading]) -> Mapping[int, str]:
        """Refuse nothing: a line of JSON can hold every reading."""
        return {}

    def log_readings(self, readings: Sequence[Reading]) -> None:
        """Write a line for each reading. Values are text, since JSON has no numbers for NaN and infinities."""
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
        # After a kill, the last readings are sent again. Those that are in the file are not written a second time.
        again = Counter(lines) & self._stored
        self._write(list((Counter(lines) - again).elements()))
        self._stored.subtract(again)

    def log_params(self, params: Mapping[str, Param]) -> None:
        """Write a line for each hyperparameter."""
        self._write([json.dumps({"param": name, "value": param.text}) for name, param in params.items()])

    def set_tags(self, tags: Mapping[str, str]) -> Mapping[str, str]:
        """Write a line for each tag. The last line of a tag stands; the note is the one called `semconv.NOTE`."""
        self._write([json.dumps({"tag": name, "value": value}) for name, value in tags.items()])
        return {}

    def close(self, outcome: str | None, end_unix_nano: int | None = None) -> None:
        """Write how the run ended. A training that was killed has not said how."""
        ended = outcome if outcome in semconv.OUTCOMES else "killed"
        self._write([json.dumps({"outcome": ended, "end_unix_nano": end_unix_nano})])

    def _write(self, lines: Sequence[str]) -> None:
        """Write all lines or none, and flush them to the disk, so that they survive a crash of the machine."""
        content = "".join(f"{line}\n" for line in lines).encode()
        # Not buffered: after an error, a buffer would still hold the lines, and write them with the next ones.
        with self._path.open("ab", buffering=0) as file:
            end = file.tell()
            try:
                if file.write(content) != len(content):
                    raise OSError("no space left")
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self._path, end)
                raise


def whole_lines(path: Path) -> list[str]:
    """The lines of a file. If a kill has left the last line incomplete, it is cut off from the file."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
    return whole.decode().splitlines()
