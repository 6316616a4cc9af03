"""What is left on a console of what was printed: progress bars as they were last, and no colours. Pure."""

from __future__ import annotations

import re
from typing import Final

LONGEST_LINE: Final = 8000
"""In characters; what is behind that is left out."""
_LEFT_OUT: Final = "…"
_TALLEST: Final = 500
"""So many lines a cursor goes up at most."""
_CALM: Final = 100
"""After so many lines in which the cursor did not go up, no line above it is expected to change."""
_PARTS: Final = re.compile(
    r"[^\x00-\x1f\x7f\x9b]+"  # text
    r"|(?:\x1b\[|\x9b)(?P<numbers>[0-?]*)[ -/]*(?P<command>[@-~])"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # a title, a link
    r"|\x1b[PX^_][^\x1b]*\x1b\\"
    r"|\x1b[ -/]*[0-Z\\-~]"
    r"|[\x00-\x1f\x7f\x9b]",
)
_UNFINISHED: Final = re.compile(
    r"(?:\x1b(?:\[[0-?]{0,64}[ -/]{0,8}|\][^\x07\x1b]{0,4096}\x1b?|[PX^_][^\x1b]{0,4096}\x1b?|[ -/]{0,8})"
    r"|\x9b[0-?]{0,64}[ -/]{0,8})\Z"
)
"""What the next text may go on with."""


class Screen:
    """The lines of a console that may still change, and a cursor. Not thread-safe.

    A terminal has a height, and keeps lines that are above it. Here a line is kept back as long as the cursor has come
    back to lines so far above it lately, as that of several progress bars does; all others are given away. The first
    time, a cursor comes back at once, so whoever takes lines waits a little.
    """

    def __init__(self) -> None:
        self._lines: list[str] = [""]
        self._times: list[int] = [0]
        """When each line was ended, the last time that it was."""
        self._now = 0
        self._row = 0
        self._column = 0
        self._reach = 0
        """The cursor has gone up so many lines lately."""
        self._calm = 0
        self._rest = ""

    @property
    def is_pending(self) -> bool:
        """Whether there are lines that have ended and were not taken."""
        return len(self._lines) > 1

    def feed(self, text: str, time: int = 0) -> None:
        """Print a text, which may end in the middle of a sequence.

        Args:
            text: the text.
            time: when it was printed, in any unit.
        """
        self._now = time
        text = self._rest + text
        found = _UNFINISHED.search(text)
        self._rest = text[found.start() :] if found else ""
        for part in _PARTS.finditer(text[: len(text) - len(self._rest)]):
            self._print(part)

    def take(self, until: int | None = None) -> list[tuple[str, int]]:
        """Lines that have ended, and are not expected to change, each with its time. They are not returned again.

        Args:
            until: only lines that have ended until then, in the order of lines; None for all.
        """
        number = max(0, min(self._row, len(self._lines) - 1) - self._reach)
        if until is not None:
            number = next((place for place in range(number) if self._times[place] > until), number)
        return self._given(number)

    def finish(self) -> list[tuple[str, int]]:
        """All lines that are left, also one that has not ended."""
        self._rest = ""
        self._times[-1] = self._now
        if not self._lines[-1]:
            self._lines.pop()
        lines = self._given(len(self._lines))
        self._lines, self._times, self._row, self._column = [""], [0], 0, 0
        return lines

    def _given(self, number: int) -> list[tuple[str, int]]:
        given = [(line.rstrip(), time) for line, time in zip(self._lines[:number], self._times, strict=False)]
        del self._lines[:number], self._times[:number]
        self._row = max(0, self._row - number)
        return given

    def _print(self, part: re.Match[str]) -> None:
        text = part[0]
        if text[0] >= " " and text[0] not in "\x7f\x9b":
            self._write(text)
        elif text == "\n":
            self._end_line()
        elif text == "\r":
            self._column = 0
        elif text == "\b":
            self._column = max(0, self._column - 1)
        elif text == "\t":
            self._write(" " * (8 - self._column % 8))
        elif part["command"]:
            self._command(part["command"], part["numbers"])

    def _write(self, text: str) -> None:
        line, column = self._lines[self._row], self._column
        self._column = end = column + len(text)
        if end > LONGEST_LINE:
            text = text[: max(0, LONGEST_LINE - column)]
            self._column = end = LONGEST_LINE
        if len(line) < column:
            line = line.ljust(column)
        line = line[:column] + text + line[end:]
        if end == LONGEST_LINE:
            line = line[: LONGEST_LINE - 1] + _LEFT_OUT
        self._lines[self._row] = line

    def _end_line(self) -> None:
        self._times[self._row] = self._now
        self._row, self._column = self._row + 1, 0
        if self._row == len(self._lines):
            self._lines.append("")
            self._times.append(self._now)
            self._calm += 1
            if self._calm > _CALM:
                self._reach = 0

    def _command(self, command: str, numbers: str) -> None:
        first = numbers.partition(";")[0]
        number = int(first[:6]) if first.isdecimal() else 0
        line = self._lines[self._row]
        if command in "AF":
            self._go_up(max(1, number), to_begin=command == "F")
        elif command in "BE":
            self._row = min(self._row + max(1, number), len(self._lines) - 1)
            self._column = 0 if command == "E" else self._column
        elif command == "C":
            self._column = min(self._column + max(1, number), LONGEST_LINE)
        elif command == "D":
            self._column = max(0, self._column - max(1, number))
        elif command == "G":
            self._column = min(max(0, number - 1), LONGEST_LINE)
        elif command == "K":
            before, behind = line[: self._column], line[self._column :]
            self._lines[self._row] = {0: before, 1: " " * len(before) + behind}.get(number, "")
        elif command == "J" and number == 0:
            self._lines[self._row] = line[: self._column]
            del self._lines[self._row + 1 :], self._times[self._row + 1 :]
        elif command == "H" or (command == "J" and number > 1):
            # What is cleared away was printed nevertheless.
            self._row, self._column, self._reach = len(self._lines) - 1, 0, 0
            if self._lines[-1]:
                self._end_line()

    def _go_up(self, number: int, *, to_begin: bool) -> None:
        self._reach = min(max(self._reach, number, len(self._lines) - 1 - self._row + number), _TALLEST)
        self._calm = 0
        self._row = max(0, self._row - number)
        self._column = 0 if to_begin else self._column
