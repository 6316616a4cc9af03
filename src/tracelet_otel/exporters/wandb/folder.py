"""The folder of a run, in which W&B's client has files until they are uploaded, or until `wandb sync`."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from tracelet_otel.protocol.failure import FAILURE_FILE

if TYPE_CHECKING:
    import wandb

_NEW: Final = ".tracelet-new"
_OWN: Final = frozenset(
    {
        "config.yaml",
        "diff.patch",
        FAILURE_FILE,
        "media",
        "output.log",
        "requirements.txt",
        "wandb-events.jsonl",
        "wandb-history.jsonl",
        "wandb-metadata.json",
        "wandb-summary.json",
    }
)
"""First parts of paths at which W&B keeps files of its own, and we what we know of a failure."""
_ASIDE: Final = "artifacts"


def place_of(path: str) -> str:
    """Where a file of a user's is among the run's files: at its path, unless W&B has a file of its own there."""
    return f"{_ASIDE}/{path}" if PurePosixPath(path).parts[0] in _OWN else path


def put(content: Path, target: Path) -> None:
    """Link a file, or copy it where that cannot be. What was there is replaced, and never written to.

    Args:
        content: the file, which is no link.
        target: where it is put.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(_NEW)
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    try:
        os.link(content, new)
    except OSError:
        # On another file system, or on one without links.
        shutil.copyfile(content, new)
    new.replace(target)
    with contextlib.suppress(FileNotFoundError):
        # Where both were the same file, it is still there.
        new.unlink()


def save(run: wandb.Run, name: str) -> None:
    """Have W&B's client upload a file of the run's folder.

    Args:
        run: the run.
        name: of the file, below the folder.
    """
    run.save(Path(run.dir, name), base_path=run.dir, policy="now", glob=False)


def take_over(run: wandb.Run, folder: Path, name: str) -> bool:
    """Have a file uploaded that is in the folder of a process before; returns False where it is gone."""
    old = folder / "files" / name
    if not old.is_file() or Path(run.dir, name).exists():
        return False
    put(old.resolve(), Path(run.dir, name))
    save(run, name)
    return True
