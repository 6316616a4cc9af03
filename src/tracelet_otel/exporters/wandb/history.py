"""The history of a run: rows that wandb-core was given, and how far they are in its file.

wandb-core may die at any time, and with it a relay. What it has written is read from its file; what the server does not
have of that is logged again. A process may die before it has done that. So it marks its folder when all is done, and
whoever comes next reads the last file that has the mark, and those behind it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tracelet_otel.exporters.wandb.files import (
    Config,
    HistoryRow,
    Output,
    SavedFile,
    mark_begun,
    may_lack,
    records,
    that_matter,
)
from tracelet_otel.exporters.wandb.folder import take_over
from tracelet_otel.exporters.wandb.init import FLUSH_S
from tracelet_otel.exporters.wandb.mapping import STEP, TIME
from tracelet_otel.exporters.wandb.media import media_of_row
from tracelet_otel.exporters.wandb.sent import SentRows
from tracelet_otel.exporters.wandb.written import wait_for_artifact, wait_for_file, wait_for_output, wait_for_row

if TYPE_CHECKING:
    import wandb

_ATTEMPT_S: Final = 1.0
_ATTEMPTS: Final = 10
"""wandb-core is asked so often whether it lives, each time after so many seconds in which its file has no batch."""
_LONGEST_MEDIA: Final = 1000
"""So many of the last media of a file are remembered, since one may be logged again."""


class Earlier(NamedTuple):
    """What an earlier part of a run has."""

    columns: set[str]
    """That have values."""
    facts: dict[str, Any]


class RunHistory:
    """The rows of one run. Not thread-safe.

    Args:
        longest_batch: the most rows that are logged between two calls of `wait_for_rows`.
        ask: asks wandb-core whether it lives; raises `ConnectionError` where it does not.
    """

    def __init__(self, longest_batch: int, ask: Callable[[wandb.Run], None]) -> None:
        self._longest_batch = longest_batch
        self._ask = ask
        self._sent = SentRows()
        self._media: deque[tuple[str, float]] = deque(maxlen=_LONGEST_MEDIA)
        """Media at the end of the file of the process before: column and time."""
        self._outputs: deque[str] = deque(maxlen=_LONGEST_MEDIA)
        """Output at the end of that file."""
        self._lacking: list[dict[str, Any]] = []
        """Rows that are to be logged again."""
        self._lacking_files: dict[str, Path] = {}
        """Files that are to be saved again: names, each with the folder of the process that has saved it."""
        self._logged = 0
        """Rows that wandb-core was given since it has begun the run."""
        self._file: Path | None = None
        """The one that wandb-core writes; None where its rows cannot be seen."""

    def begin(self, run: wandb.Run, before: Sequence[Path]) -> Earlier:
        """Begin with a run that wandb-core has begun: find what is to be logged again, which `catch_up` does.

        Args:
            run: the run.
            before: the files of all processes before, oldest first.

        Raises:
            TrackerUnavailableError: one cannot be read.
        """
        self._logged, self._file = 0, Path(run.settings.sync_file)
        earlier = Earlier(set(), {})
        tail: deque[dict[str, Any]] = deque(maxlen=self._longest_batch)
        for memory in (self._media, self._outputs, self._lacking, self._lacking_files):
            memory.clear()
        last_step = -1.0
        for path in that_matter(before):
            is_missing = may_lack(path)
            for record in records(path):
                if isinstance(record, Config):
                    earlier.facts.update(record.values.get("otel", {}))
                elif isinstance(record, Output):
                    self._outputs.append(record.text)
                elif isinstance(record, SavedFile):
                    if is_missing:
                        self._lacking_files[record.path] = path.parent
                else:
                    step = float(record.cells["_step"])
                    if is_missing and step <= last_step:
                        # A process that died before it had logged all again has logged what is in the file before.
                        continue
                    last_step = max(step, last_step) if is_missing else last_step
                    self._read_row(record, earlier.columns, tail, is_missing=is_missing and step >= run.starting_step)
        self._lacking.extend(self._sent.continued(tail))
        return earlier

    def catch_up(self, run: wandb.Run) -> None:
        """Log again what is to be logged again, and wait until all of that is on the disk."""
        # Files come first: these may fail, and this may be called once more then.
        saved = [name for name, folder in self._lacking_files.items() if take_over(run, folder, name)]
        for row in self._lacking:
            self._log(run, row)
        if self._lacking:
            self.wait_for_rows(run)
        elif saved:
            self.wait_for_file(run, saved[-1])
        mark_begun(Path(run.settings.sync_dir))

    def add(self, run: wandb.Run, made: Sequence[dict[str, Any]]) -> None:
        """Log rows, without what an earlier process has written already."""
        for row in self._sent.without_known(made):
            self._log(run, row)
            self._sent.add(row)

    def add_media(self, run: wandb.Run, column: str, value: Mapping[str, Any], place: Mapping[str, Any]) -> None:
        """Log media in a row of their own, and wait until it is on the disk; nothing where an earlier process did that.

        Args:
            run: the run.
            column: their name.
            value: what W&B keeps of them in history.
            place: step and time, by W&B's columns.
        """
        if (column, place[TIME]) not in self._media:
            self._log(run, {**place, column: value})
            self._wait(lambda file: wait_for_row(file, self._number(run), _ATTEMPT_S), run)

    def add_output(self, run: wandb.Run, text: str, *, may_be_there: bool) -> None:
        """Write to the run's console, and wait until it is on the disk.

        Args:
            run: the run.
            text: whole lines.
            may_be_there: whether an earlier process may have written it; what it has written is not written again.
        """
        if not may_be_there or text not in self._outputs:
            run.write_logs(text)
            self._wait(lambda file: wait_for_output(file, text, _ATTEMPT_S), run)

    def wait_for_rows(self, run: wandb.Run) -> None:
        """Wait until all rows are on the disk: wandb-core or the machine may end at any time."""
        # Where no row was logged, all of them are in the file of the process before.
        if self._logged == 0 or self._wait(lambda file: wait_for_row(file, self._number(run), _ATTEMPT_S), run):
            self._sent.seen()
        else:
            self._sent.unseen()

    def wait_for_file(self, run: wandb.Run, name: str) -> None:
        """Wait until it is on the disk that a file of the run's folder, which was just saved, is to be uploaded."""
        self._wait(lambda file: wait_for_file(file, name, _ATTEMPT_S), run)

    def wait_for_artifact(self, run: wandb.Run, digest: str) -> None:
        """Wait until an artifact of an offline run, which was just logged, is on the disk."""
        self._wait(lambda file: wait_for_artifact(file, digest, _ATTEMPT_S), run)

    def _log(self, run: wandb.Run, row: dict[str, Any]) -> None:
        # Never with `step`: a row below the highest step would be dropped silently.
        run.log(row)
        self._logged += 1

    def _number(self, run: wandb.Run) -> int:
        return run.starting_step + self._logged - 1

    def _wait(self, is_written: Callable[[Path], bool], run: wandb.Run) -> bool:
        for _ in range(_ATTEMPTS if self._file else 0):
            if self._file and is_written(self._file):
                return True
            # Raises an error where wandb-core has died, and then what was logged is sent again.
            self._ask(run)
        self._file = None
        time.sleep(2 * FLUSH_S)
        return False

    def _read_row(self, row: HistoryRow, columns: set[str], tail: deque[dict[str, Any]], *, is_missing: bool) -> None:
        """Take note of a row of a file.

        Args:
            row: the row.
            columns: gets columns that have values.
            tail: gets the row's values.
            is_missing: whether the server does not have it.
        """
        media = media_of_row(row.cells)
        again: dict[str, Any]
        if media is not None:
            self._media.append((media.column, float(row.cells[TIME])))
            place: dict[str, Any] = {name: float(row.cells[name]) for name in (TIME, STEP) if name in row.cells}
            again = {**place, media.column: dict(media.value)}
        else:
            numbers = {name: float(value) for name, value in row.cells.items()}
            tail.append(numbers)
            columns.update(numbers)
            again = {name: value for name, value in numbers.items() if name not in ("_step", "_runtime")}
        if is_missing:
            self._lacking.append(again)
