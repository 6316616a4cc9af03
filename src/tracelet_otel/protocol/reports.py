"""Keeps what the processes of a run report by name, as its hyperparameters: each value once, and in order. Pure.

A process repeats all its reports in each export, so that a lost export loses none of them. A new value of a known name
has a higher revision, by which it is recognized.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tracelet_otel.protocol.decode import Param, Report
from tracelet_otel.protocol.report_kinds import ReportKind


class Reports:
    """What all processes of a run have reported of one kind.

    Args:
        kind: the kind.
        state: what the property `state` returned, in this process or an earlier one; None for no reports.
    """

    def __init__(self, kind: ReportKind, state: Mapping[str, Any] | None = None) -> None:
        known = state or {"reports": [], "revisions": {}}
        self._kind = kind
        self._reports = [(name, Param(*param)) for name, param in known["reports"]]
        self._latest = dict(self._reports)
        self._revisions: dict[str, dict[str, int]] = {
            process: dict(revisions) for process, revisions in known["revisions"].items()
        }

    @property
    def all(self) -> list[Report]:
        """Each value that trackers have to get, in order."""
        return [Report(self._kind, name, param) for name, param in self._reports]

    @property
    def state(self) -> dict[str, Any]:
        """All reports, in a form that can be written as JSON."""
        return {"reports": self._reports, "revisions": self._revisions}

    def has_news(self, process: str, reported: Iterable[Report]) -> bool:
        """Whether any of a process's reports has not been added yet."""
        revisions = self._revisions.get(process, {})
        return any(report.revision > revisions.get(report.name, 0) for report in reported)

    def add(self, process: str, reported: Iterable[Report]) -> list[Report]:
        """Add the reports of a process.

        Args:
            process: identifies the process, which counts its own revisions.
            reported: its reports, in order.

        Returns:
            Each report that is new: not of the value that a name has already, from any process.
        """
        revisions = self._revisions.setdefault(process, {})
        new = []
        for report in reported:
            if report.revision <= revisions.get(report.name, 0):
                continue
            revisions[report.name] = report.revision
            if self._latest.get(report.name) != report.param:
                self._latest[report.name] = report.param
                new.append(report)
        if self._kind.keeps_all:
            self._reports += [(report.name, report.param) for report in new]
        else:
            self._reports = list(self._latest.items())
        return new

    def copy(self) -> Reports:
        """A copy: reports that are added to it are not in this one."""
        return Reports(self._kind, self.state)
