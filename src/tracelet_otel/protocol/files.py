"""Files that a run leaves behind, and how a training hands them to its relay: through a directory on the disk.

What is in a file never travels in the metric stream. A training puts each file into the run's **spool**, a directory
beside the run's journal, as an entry: a directory with `entry.json`, which says what it is, and the file itself in a
directory of its own, since it may have any name. An entry appears under its name at once and as a whole, because it is
made under another name and renamed. So a training that is killed leaves whole entries only, and the relay finds them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any, Final

from tracelet_otel.protocol.file_names import path_of

SPOOL_SUFFIX: Final = ".files"
"""Of the spool, a directory beside the journal of the run."""
ENTRY: Final = "entry.json"
CONTENT: Final = "content"
"""Name of the directory of an entry that has the file."""
UNFINISHED: Final = ".part-"
"""Beginning of the name of an entry that is being made."""
PACKAGES_FILE: Final = "requirements.txt"
"""Name of the file that has the packages which are installed where the training runs."""
SUMMARY_FILE: Final = "model_summary.txt"
"""Name of the file that has a summary of the module, as `mlflow.pytorch.autolog` calls it."""
CONFIG_FILE: Final = "config.yaml"
"""Name of the file that has what `LightningCLI` has read, as Lightning calls it."""
OWN_FILES: Final = frozenset((PACKAGES_FILE, SUMMARY_FILE, CONFIG_FILE))
"""Files that a run records by itself, unless the user records one of the same name."""
_ROOM: Final = 2**29
"""In bytes. So much is left free on the disk of a spool."""
_ENTRY_NAME: Final = re.compile(r"\d{20}-\d{10}-\d+")
_NUMBERS: Final = count()

Make = Callable[[Path], None]
"""Makes the content of an entry, at the path that it gets."""


class FileKind(str, Enum):
    """What a file is. Trackers show each kind by a type of their own, where they have one."""

    FILE = "file"
    """A file or a directory, of which nothing more is known."""
    IMAGE = "image"
    FIGURE = "figure"
    """A picture of a figure, or a plotly figure as JSON."""
    TABLE = "table"
    """JSON with `columns`, a list of names, and `data`, a list of rows."""
    TEXT = "text"
    AUDIO = "audio"
    CHECKPOINT = "checkpoint"
    CONSOLE = "console"
    """Lines that a process has printed (`protocol.console`), in the order of entries."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of a training, as it is after it was written or removed."""

    path: str
    """Where the training has written it, or has removed it from."""
    is_removed: bool = False
    epoch: int | None = None
    monitor: str | None = None
    """Name of the metric by which checkpoints are compared."""
    score: float | None = None
    """Value of that metric."""
    mode: str | None = None
    """`min` or `max`: which scores are better."""
    is_best: bool = False
    is_last: bool = False
    is_top_k: bool = False
    """Whether it is one of those with the best scores that the training keeps."""
    keeper: int | None = None
    """Number of the callback that has had it written, among those of the process; each has a best one and a last."""


@dataclass(frozen=True)
class RunFile:
    """A file of a run. Of a checkpoint there may be only the fact that it was written, or removed."""

    name: str
    """Name in the run, with `/` between directories, and without a suffix that its kind implies."""
    kind: FileKind
    time_unix_nano: int
    content: str | None = None
    """Name of the file or directory in the entry; None where the entry has none."""
    size: int | None = None
    """In bytes; None where it is not known."""
    step: int | None = None
    """The trainer's step; None where it was logged without one."""
    checkpoint: Checkpoint | None = None
    is_own: bool = False
    """Whether the run has recorded it by itself: one of `OWN_FILES`."""
    is_last: bool = False
    """Whether a process prints no more after these lines."""

    @property
    def path(self) -> str:
        """Where a tracker that keeps files by path keeps it: what was logged with a step has a file for each step."""
        if self.kind in (FileKind.FILE, FileKind.CHECKPOINT, FileKind.CONSOLE) or self.content is None:
            return self.name
        return path_of(self.name, PurePosixPath(self.content).suffix, self.step)

    def to_json(self) -> str:
        """The content of `entry.json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> RunFile:
        """Read what `to_json` has returned.

        Raises:
            ValueError: the text is something else.
        """
        try:
            given: dict[str, Any] = json.loads(text)
            checkpoint = given.pop("checkpoint")
            made = cls(
                **{**given, "kind": FileKind(given["kind"])},
                checkpoint=None if checkpoint is None else Checkpoint(**checkpoint),
            )
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise ValueError(f"no description of a file: {error}") from None
        if made.content is not None and (made.content in ("", ".", "..") or set(made.content) & {"/", "\0"}):
            raise ValueError(f"{made.content!r} is not the name of a file in its entry")
        return made


@dataclass(frozen=True)
class SpoolEntry:
    """An entry of a spool."""

    directory: Path
    file: RunFile

    @property
    def content(self) -> Path | None:
        """The file or directory; None where the entry has none."""
        return None if self.file.content is None else self.directory / CONTENT / self.file.content


def check_room(directory: Path, size: int) -> None:
    """Check that a file leaves enough room on the disk of a spool.

    Args:
        directory: the spool, or a part of it.
        size: size of the file in bytes; 0 where it is not known.

    Raises:
        OSError: it does not.
    """
    free = shutil.disk_usage(directory).free
    if free < size + _ROOM:
        raise OSError(f"it has {size} bytes, {free} are free in {directory}, and {_ROOM} of them are left free")


def entry_name() -> str:
    """A name for a new entry. Names in their order are in the order in which they were made."""
    return f"{time.time_ns():020d}-{next(_NUMBERS):010d}-{os.getpid()}"


def is_entry_name(name: str) -> bool:
    """Whether a name is one that `entry_name` returns."""
    return _ENTRY_NAME.fullmatch(name) is not None


def put_entry(place: Path, file: RunFile, make: Make | None = None) -> str:
    """Put an entry into a spool.

    Args:
        place: the spool, which is there.
        file: what it is.
        make: makes its content; None where there is only the fact.

    Returns:
        Name of the entry.

    Raises:
        Exception: what `make` raises, or `OSError`. Then there is no entry.
    """
    name = entry_name()
    unfinished = place / (UNFINISHED + name)
    try:
        unfinished.mkdir(mode=0o700)
        if make is not None and file.content is not None:
            (unfinished / CONTENT).mkdir(mode=0o700)
            make(unfinished / CONTENT / file.content)
        (unfinished / ENTRY).write_text(file.to_json(), encoding="utf-8")
        unfinished.rename(place / name)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return name


def remove_entry(place: Path, name: str) -> None:
    """Remove an entry from a spool. It is renamed first, so that a half of it is never taken for one."""
    gone = place / f"{UNFINISHED}{name}"
    with contextlib.suppress(OSError):
        (place / name).rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def entry_names(spool: Path) -> list[str]:
    """Names of all entries of a spool, in the order in which they were made; empty where there is no spool."""
    try:
        found = os.listdir(spool)  # noqa: PTH208  # a tenth of the time that `iterdir` takes for many
    except FileNotFoundError:
        return []
    return sorted(filter(is_entry_name, found))


def read_entry(directory: Path) -> SpoolEntry:
    """Read an entry.

    Raises:
        OSError: it is not there, or cannot be read.
        ValueError: it is no entry.
    """
    return SpoolEntry(directory, RunFile.from_json((directory / ENTRY).read_text(encoding="utf-8")))


def files_in(content: Path) -> Iterator[tuple[str, Path]]:
    """The files of a file or a directory, each with its path behind that of the content; empty for a file.

    Raises:
        FileNotFoundError: the content is gone.
    """
    if not content.is_dir():
        yield "", content.resolve(strict=True)
        return
    for folder, _, names in os.walk(content):
        for name in names:
            found = Path(folder, name)
            yield f"/{found.relative_to(content).as_posix()}", found.resolve(strict=True)


def facts_of(file: RunFile) -> Mapping[str, str]:
    """What is known of a checkpoint, as text for people, by name; what is not known is not in it."""
    found = file.checkpoint
    if found is None:
        return {}
    known = {
        "path": found.path,
        "step": file.step,
        "epoch": found.epoch,
        "monitor": found.monitor,
        "score": found.score,
        "mode": found.mode,
        "size": file.size,
    }
    return {name: str(value) for name, value in known.items() if value is not None}


UNIQUE_ALIASES: Final = frozenset({"best", "latest"})
"""Those that only one checkpoint of a callback has at a time."""


def aliases_of(checkpoint: Checkpoint) -> list[str]:
    """Words by which trackers let people find a checkpoint."""
    said = {"best": checkpoint.is_best, "latest": checkpoint.is_last, "top-k": checkpoint.is_top_k}
    return [word for word, holds in said.items() if holds]
