"""Why a run failed: attributes of an event, and tags, which trackers may show in a place of its own. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tracelet_otel import semconv

FAILURE_FILE: Final = "exception.txt"
"""Name of the file with the traceback, in trackers that have files."""
_NAMES: Final = (semconv.EXCEPTION_TYPE, semconv.EXCEPTION_MESSAGE, semconv.EXCEPTION_STACKTRACE)
_TAGS: Final = tuple(semconv.FAILURE_PREFIX + name for name in _NAMES)
STACKTRACE_TAG: Final = _TAGS[-1]
"""The tag with the traceback."""


@dataclass(frozen=True)
class Failure:
    """An exception that ended a training or a process, as text that may be shown."""

    type: str
    """Name of its type, with its module where it is not Python's own."""
    message: str
    stacktrace: str
    """What Python prints of it, with those that it was raised from."""

    @property
    def line(self) -> str:
        """Type and message in a line."""
        first = self.message.strip().partition("\n")[0]
        return f"{self.type}: {first}" if first else self.type

    @property
    def attributes(self) -> dict[str, str]:
        """Attributes of an event. Source: OpenTelemetry, "Semantic conventions for exceptions in logs"."""
        return dict(zip(_NAMES, (self.type, self.message, self.stacktrace), strict=True))

    @property
    def tags(self) -> dict[str, str]:
        """The same as tags of the run."""
        return dict(zip(_TAGS, self.attributes.values(), strict=True))


def failure_in(tags: Mapping[str, str]) -> Failure | None:
    """What tags of a run say of its failure; None where they do not."""
    kind, message, stacktrace = map(tags.get, _TAGS)
    return None if kind is None else Failure(kind, message or "", stacktrace or "")


def without_failure(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags without those of a failure."""
    return {name: text for name, text in tags.items() if name not in _TAGS}
