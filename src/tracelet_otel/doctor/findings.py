"""What one check hands to the report. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tracelet_otel._support.findings import Finding


@dataclass(frozen=True)
class Chapter:
    """All that one check has found."""

    title: str
    findings: Sequence[Finding]
    table: Sequence[tuple[str, str]] = ()
    """Figures for people, as name and value."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs, as JSON can hold it."""
