"""Hyperparameters of a run as they were reported: each value once, and in order. Pure.

A process repeats all that it has reported in each export, so that none of it is lost with one of them. Where it
reports another value under a name, that has a revision, by which it is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tracelet_otel.protocol.decode import Param, Report


class Reports:
    """What has been reported of a run by all its processes.

    Args:
        state: what `state` gave, of a process before this one.
    """

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        known = state or {"reports": [], "revisions": {}}
        self._reports = [(name, Param(*param)) for name, param in known["reports"]]
        self._latest = dict(self._reports)
        self._revisions: dict[str, dict[str, int]] = {
            process: dict(revisions) for process, revisions in known["revisions"].items()
        }

    @property
    def all(self) -> list[tuple[str, Param]]:
        """Name and value of each report, in order."""
        return list(self._reports)

    @property
    def state(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {"reports": self._reports, "revisions": self._revisions}

    def has_news(self, process: str, said: Iterable[Report]) -> bool:
        """Whether `add` would take anything of it."""
        revisions = self._revisions.get(process, {})
        return any(report.revision > revisions.get(report.name, 0) for report in said)

    def add(self, process: str, said: Iterable[Report]) -> list[tuple[str, Param]]:
        """Take what a process has said.

        Args:
            process: which; each counts its own revisions.
            said: its reports, in order.

        Returns:
            What is new of it. That another process says the same once more is not.
        """
        revisions = self._revisions.setdefault(process, {})
        new = []
        for report in said:
            if report.revision <= revisions.get(report.name, 0):
                continue
            revisions[report.name] = report.revision
            if self._latest.get(report.name) != report.param:
                self._latest[report.name] = report.param
                new.append((report.name, report.param))
        self._reports += new
        return new

    def copy(self) -> Reports:
        """One that may grow while this one stays as it is."""
        return Reports(self.state)
