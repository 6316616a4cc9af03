"""Names of a run's files, and the paths that follow from them. Pure."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath
from typing import Final

_DOTS: Final = re.compile(r"\.+")
_UNUSABLE: Final = re.compile(r"[\\#\x01-\x1f\x7f]|%(?=[0-9a-fA-F]{2})")
"""What MLflow takes in no name, or takes for another character when the file is read. Its server has no path for a name
with an end of a line."""
_LONGEST_PART: Final = 200
"""Of a part of a name, in bytes. File systems take 255, and trackers add to it."""
_LONGEST_SUFFIX: Final = 20
"""In characters."""


def safe_name(name: str) -> str:
    """A name of a file in a run: of what was given, whatever leads out of the run's folder is changed.

    A part that is too long for a file's name is cut, and gets a hash.

    Args:
        name: any text, with `/` between directories.
    """
    plain = _UNUSABLE.sub("_", name.replace("\0", ""))
    parts = [part for part in PurePosixPath(plain).parts if part != "/"]
    inside = ["_" * len(part) if _DOTS.fullmatch(part) else part for part in parts]
    return "/".join(map(_cut, inside)) or "_"


def _cut(part: str) -> str:
    whole = part.encode("utf-8", "surrogatepass")
    if len(whole) <= _LONGEST_PART:
        return part
    suffix = PurePosixPath(part).suffix[:_LONGEST_SUFFIX]
    end = f"_{hashlib.sha256(whole).hexdigest()[:8]}{suffix}"
    return whole[: _LONGEST_PART - len(end.encode("utf-8", "surrogatepass"))].decode(errors="ignore") + end


def path_of(name: str, suffix: str, step: int | None) -> str:
    """Path of the file in which a tracker keeps what was logged under a name.

    Args:
        name: the name under which it was logged.
        suffix: what the file's name has to end with, as in `.png`.
        step: each step has a file of its own in a directory of that name; None where it was logged without one.
    """
    stem = name[: -len(suffix)] if suffix and name.endswith(suffix) else name
    return f"{stem}{suffix}" if step is None else f"{stem}/{step:08d}{suffix}"
