"""What `tracelet-otel doctor` finds. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(str, enum.Enum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    """It may be as it is meant."""
    PROBLEM = "problem"
    """Something is lost or late, or will be."""


@dataclass(frozen=True)
class Finding:
    """One thing that a check has found."""

    level: Level
    text: str
    """What is so, in one sentence and without secrets."""
    mend: str = ""
    """The line that mends it: a command, a setting, or what to do; empty where nothing is to be mended."""


def fine(text: str) -> Finding:
    """A finding of what is as it has to be."""
    return Finding(Level.OK, text)


def note(text: str, mend: str) -> Finding:
    """A finding of what may be as it is meant."""
    return Finding(Level.NOTE, text, mend)


def problem(text: str, mend: str) -> Finding:
    """A finding of what is lost or late, or will be."""
    return Finding(Level.PROBLEM, text, mend)
