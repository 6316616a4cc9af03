"""Keeps the hyperparameters that the processes of a run report: each value once, and in order. Pure.

A process repeats all its reports in each export, so that a lost export loses none of them. A new value of a known name
has a higher revision, by which it is recognized.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tracelet_otel.protocol.decode import Param, Report


class Reports:
    """Hyperparameters that all processes of a run have reported.

    Args:
        state: what the property `state` returned, in this process or an earlier one; None for no reports.
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
        """All reports, in a form that can be written as JSON."""
        return {"reports": self._reports, "revisions": self._revisions}

    def has_news(self, process: str, reported: Iterable[Report]) -> bool:
        """Whether any of a process's reports has not been added yet."""
        revisions = self._revisions.get(process, {})
        return any(report.revision > revisions.get(report.name, 0) for report in reported)

    def add(self, process: str, reported: Iterable[Report]) -> list[tuple[str, Param]]:
        """Add the reports of a process.

        Args:
            process: identifies the process, which counts its own revisions.
            reported: its reports, in order.

        Returns:
            Name and value of each report that is new: not of the value that a name has already, from any process.
        """
        revisions = self._revisions.setdefault(process, {})
        new = []
        for report in reported:
            if report.revision <= revisions.get(report.name, 0):
                continue
            revisions[report.name] = report.revision
            if self._latest.get(report.name) != report.param:
                self._latest[report.name] = report.param
                new.append((report.name, report.param))
        self._reports += new
        return new

    def copy(self) -> Reports:
        """A copy: reports that are added to it are not in this one."""
        return Reports(self.state)
