"""Reads what W&B's client has written of a run, with W&B's own command.

wandb-core ends with the process that started it: it uploads nothing more, and does not report that. Its files on the
disk are all that the next process has to find out how far the last one got.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tracelet_otel.errors import TrackerUnavailableError

_READ_S: Final = 120.0
_ONLINE: Final = "run-"
_FATAL: Final = "filestream: fatal error"
_UPLOADED: Final = "tracelet-uploaded"
"""Name of an empty file in the folder of a run of which the server has everything."""
_BEGUN: Final = "tracelet-begun"
"""Name of an empty file in the folder of a run that needs no folder before it any more: the server or it has all."""


def upload_error(log: Path) -> str | None:
    """Why wandb-core has stopped uploading, from its log, because it does not report that; None where it has not."""
    try:
        with log.open(encoding="utf-8", errors="replace") as lines:
            fatal = next((line for line in lines if _FATAL in line), None)
    except OSError:
        return None
    if fatal is None:
        return None
    try:
        return str(json.loads(fatal)["msg"])
    except (ValueError, LookupError, TypeError):
        # Not all that wandb-core writes there is JSON.
        return fatal.strip()


class HistoryRow(NamedTuple):
    """A row of history."""

    cells: dict[str, Any]
    """Values by column; numbers that JSON cannot hold are text."""


class Config(NamedTuple):
    """A part of the run's config that was set."""

    values: dict[str, Any]


class SavedFile(NamedTuple):
    """A file that is to be uploaded."""

    path: str
    """Below `files` in the run's folder."""


class Output(NamedTuple):
    """Text that was written to the run's console."""

    text: str


def files_of(directory: Path, run_id: str) -> list[Path]:
    """The files of a run, oldest first.

    Args:
        directory: the one in which W&B has made its folder, `wandb` or, hidden, `.wandb`.
        run_id: W&B's id of the run.
    """
    folders = [folder for name in ("wandb", ".wandb") for folder in (directory / name).glob(f"*run-*-{run_id}*")]
    found = [path for folder in folders if not folder.is_symlink() for path in folder.glob(f"run-{run_id}.wandb")]
    return sorted(found, key=lambda path: path.parent.name.removeprefix("offline-"))


def that_matter(paths: Sequence[Path]) -> list[Path]:
    """The files that whoever continues a run needs.

    Args:
        paths: all files of the run, oldest first.

    Returns:
        The last one that needs none before it, and those behind it: processes died before these had all.
    """
    begun = [number for number, path in enumerate(paths) if (path.parent / _BEGUN).exists()]
    # A version of this package that made no such marks has begun a file only where it has read the one before.
    return list(paths[begun[-1] :] if begun else paths[-1:])


def may_lack(path: Path) -> bool:
    """Whether the server may lack something of a file that was to be uploaded at once."""
    return path.parent.name.startswith(_ONLINE) and not (path.parent / _UPLOADED).exists()


def mark_uploaded(folder: Path) -> None:
    """Take note that the server has everything of a run's folder."""
    with contextlib.suppress(OSError):
        (folder / _UPLOADED).touch()


def mark_begun(folder: Path) -> None:
    """Take note that the server and a run's folder have everything that is in folders before it."""
    with contextlib.suppress(OSError):
        (folder / _BEGUN).touch()


def records(path: Path) -> Iterator[HistoryRow | Config | SavedFile | Output]:
    """Read rows, config, names of saved files and output of a file, in order, as far as it is complete.

    Raises:
        TrackerUnavailableError: it cannot be read.
    """
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_READ_S, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise TrackerUnavailableError(f"{path} cannot be read with `wandb leet inspect`: {error}") from None
    for line in done.stdout.splitlines():
        # W&B writes negative zero as an integer, whose sign `int` would drop.
        record = json.loads(line, parse_int=float)
        if record["type"] == "history":
            yield HistoryRow(record["history"]["item"])
        elif record["type"] == "config":
            yield Config(record["config"].get("update", {}))
        elif record["type"] == "files":
            yield from (SavedFile(one["path"]) for one in record["files"].get("files", ()))
        elif record["type"] == "output_logger":
            yield Output(record["output_logger"]["line"])
