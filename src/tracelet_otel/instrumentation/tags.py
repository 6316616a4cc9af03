"""Tags of a run, and its note, as points of an observable gauge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry.metrics import MeterProvider

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.tags import LONGEST_NAME, problem_of
from tracelet_otel._support.text import encodable, shortened
from tracelet_otel.instrumentation.reported import NamedValue, ReportedValues
from tracelet_otel.protocol.report_kinds import MAX_VALUE_LENGTH, TAGS


class Tags:
    """The run's tags. A tag may get another value at any time; only the last one is exported.

    Args:
        meter_provider: where the instrument is created.
        guard: where tags that cannot be recorded as they are given are reported.
    """

    def __init__(self, meter_provider: MeterProvider, guard: Guard) -> None:
        self._guard = guard
        self._note = ""
        self._findings: dict[str, str] = {}
        description = "A tag of the run, or its note: always 1"
        self._values = ReportedValues(TAGS, description, meter_provider, guard)

    def begin(self, tags: Mapping[str, str], note: str | None) -> None:
        """Set what the settings of a run have: its tags, and its note where there is one."""
        self.update(tags)
        if note is not None:
            self.describe(note)

    def update(self, tags: Mapping[str, Any]) -> None:
        """Set tags; those that were set before, and are not among these, stay.

        Args:
            tags: values by name. A value that is no text is converted to text.

        Raises:
            TypeError: `tags` is no mapping.
        """
        if not isinstance(tags, Mapping):
            raise TypeError(f"they are no mapping, but {type(tags).__name__}")
        self._values.update(list(self._found(tags)))

    def describe(self, note: Any) -> None:
        """Set the run's note. It replaces an earlier one."""
        self._note = self._text("the note", note)
        self._describe()

    def find(self, tags: Mapping[str, str], finding: str) -> None:
        """Set tags of ours, and say more about them below the user's note.

        Args:
            tags: values by name.
            finding: what is added to the note; it replaces what was added for tags of these names. Empty for nothing.
        """
        self._values.update([NamedValue(name, self._text(f"tag {name!r}", value)) for name, value in tags.items()])
        if finding:
            self._findings[next(iter(tags))] = finding
            self._describe()

    def _describe(self) -> None:
        whole = "\n\n".join(filter(None, (self._note, *self._findings.values())))
        self._values.update([NamedValue(semconv.NOTE, self._text("the note", whole))])

    def _found(self, tags: Mapping[str, Any]) -> Iterator[NamedValue]:
        for given, value in tags.items():
            name = encodable(str(given))
            problem = problem_of(name)
            if problem is not None:
                self._guard.report(f"tag {name[:LONGEST_NAME]!r} was dropped", problem)
                continue
            try:
                yield NamedValue(name, self._text(f"tag {name!r}", value))
            except Exception as error:
                self._guard.report(f"tag {name!r} was dropped", error)

    def _text(self, what: str, value: Any) -> str:
        text = encodable(str(value))
        if len(text) > MAX_VALUE_LENGTH:
            self._guard.report(f"{what} was cut", f"it has {len(text)} characters, and {MAX_VALUE_LENGTH} are recorded")
        return shortened(text, MAX_VALUE_LENGTH)
