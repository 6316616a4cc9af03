"""What a check finds. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


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


@dataclass(frozen=True)
class Chapter:
    """All that one check has found."""

    title: str
    findings: Sequence[Finding]
    table: Sequence[tuple[str, str]] = ()
    """Figures for people, as name and value."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs, as JSON can hold it."""
