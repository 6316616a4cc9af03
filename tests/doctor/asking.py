"""Asks the doctor, in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner

from tests.support.sidecar import TOKEN
from tracelet_otel.cli import main

Findings = list[tuple[str, str]]


@dataclass(frozen=True)
class Told:
    """What the doctor has said."""

    code: int
    text: str
    """All of it, as JSON."""
    chapters: list[dict[str, Any]]

    @property
    def found(self) -> dict[str, Findings]:
        """Level and text of each finding, by chapter."""
        return {
            one["title"]: [(finding["level"], finding["text"]) for finding in one["findings"]] for one in self.chapters
        }

    @property
    def facts(self) -> dict[str, dict[str, Any]]:
        """The facts of each chapter."""
        return {one["title"]: one["facts"] for one in self.chapters}

    def about(self, beginning: str) -> Findings:
        """The findings of the one chapter whose title begins so."""
        [findings] = [findings for title, findings in self.found.items() if title.startswith(beginning)]
        return findings

    def mended(self, level: str = "problem") -> list[tuple[str, str, str]]:
        """Chapter, text and mending line of all findings of a level."""
        return [
            (one["title"], finding["text"], finding["mend"])
            for one in self.chapters
            for finding in one["findings"]
            if finding["level"] == level
        ]


def doctor(*options: str) -> Told:
    """Ask for JSON, and see that it agrees with itself."""
    told = CliRunner().invoke(main, ["doctor", *options, "--json"], catch_exceptions=False)
    plain = json.loads(told.stdout)
    assert told.exit_code == int(plain["problem"])
    assert TOKEN not in told.stdout
    found = [finding for chapter in plain["chapters"] for finding in chapter["findings"]]
    assert plain["problem"] == any(finding["level"] == "problem" for finding in found)
    assert [bool(finding["mend"]) for finding in found] == [finding["level"] != "ok" for finding in found]
    assert all(chapter["findings"] for chapter in plain["chapters"])
    return Told(told.exit_code, told.stdout, plain["chapters"])
