"""Writes to ClearML what ranks have printed, as log events, which are the task's console."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from tracelet_otel.protocol.console import ConsoleLine, rank_of, read_lines, shown, was_begun
from tracelet_otel.protocol.files import RunFile

_TRACKER: Final = "clearml"
_LONGEST: Final = 16_000
"""Of the text of an event, in characters."""
_SECOND_NS: Final = 1_000_000_000
_LEVELS: Final = {5: "debug", 13: "warning", 17: "error", 21: "critical"}
"""By severity number; all others are `info`, as what is printed is with ClearML's client."""


class LogStore(Protocol):
    """Where log events of one task are kept."""

    task_id: str

    def add_log(self, events: Sequence[dict[str, Any]]) -> None:
        """Store log events, which have no identity: the same again is there twice."""
        ...

    def last_log(self) -> list[tuple[int, str]]:
        """Time in ms and text of the last log events."""
        ...


def write_console(store: LogStore, file: RunFile, content: Path) -> None:
    """Store lines of a rank. What an earlier process has stored is not stored again.

    Args:
        store: where they are kept.
        file: an entry with lines.
        content: its content.
    """
    rank = rank_of(file.name)
    events = list(_events(read_lines(content), rank, store.task_id))
    if events and was_begun(content, _TRACKER):
        known = set(store.last_log())
        events = [one for one in events if (one["timestamp"], one["msg"]) not in known]
    if events:
        store.add_log(events)


def _events(lines: Sequence[ConsoleLine], rank: int, task_id: str) -> Iterator[dict[str, Any]]:
    """Lines as events. Those of one second and level are one, as with ClearML's client: its page sorts by time."""
    last_ms = begin_ns = 0
    level = ""
    texts: list[str] = []
    for one in [*lines, None]:
        is_more = (
            one is not None
            and _LEVELS.get(one.severity, "info") == level
            and one.time_unix_nano - begin_ns < _SECOND_NS
            and sum(map(len, texts)) + len(one.text) < _LONGEST
        )
        if texts and not is_more:
            last_ms = max(begin_ns // 1_000_000, last_ms + 1)
            event = {"timestamp": last_ms, "level": level, "msg": "\n".join(texts)}
            yield {"type": "log", "task": task_id, "worker": f"rank {rank}", **event}
            texts = []
        if one is not None:
            if not texts:
                begin_ns, level = one.time_unix_nano, _LEVELS.get(one.severity, "info")
            texts.append(shown(one, rank))
