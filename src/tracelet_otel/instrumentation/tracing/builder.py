"""Makes spans of what the training thread has noted. Pure: times, ids and steps come from outside."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tracelet_otel import semconv
from tracelet_otel.instrumentation.tracing.notes import SETUP_IS_OVER, Note
from tracelet_otel.protocol.spans import Attribute, FinishedSpan

_REMEMBERED: Final = 1_000
"""Spans that have ended and can still be found by a time in them."""

_NEVER: Final = 2**63


@dataclass(frozen=True)
class NewSpan:
    """A span that is added as a whole, when it has ended."""

    name: str
    begin_ns: int
    end_ns: int
    """Both times of `perf_counter_ns`."""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    children: Sequence[NewSpan] = ()


class _Ended(NamedTuple):
    begin_ns: int
    end_ns: int
    span_id: int
    offset_ns: int


@dataclass
class _Open:
    """A span that goes on."""

    note: Note
    span_id: int
    parent_id: int | None
    offset_ns: int
    covered_ns: int
    """Up to when spans in it have ended."""
    covered_step: int | None


class SpanBuilder:
    """Keeps the spans that are open on each thread, and returns each when it has ended.

    Where the end of a span is lost, as where Ctrl-C comes just then, it ends with the span around it.

    Args:
        new_id: returns the id of a new span.
        interval_ns: how long a span goes on at most until a part of it becomes a span of its own, in nanoseconds. So a
            training that is killed leaves what it has done.
        size_of: returns the size of a checkpoint that is no file, by its path; None where it is not known.
    """

    def __init__(
        self, new_id: Callable[[], int], interval_ns: int, size_of: Callable[[str], int | None] = lambda _: None
    ) -> None:
        self._new_id = new_id
        self._interval_ns = interval_ns
        self._size_of = size_of
        self._stacks: dict[int, list[_Open]] = {}
        self._ended: deque[_Ended] = deque(maxlen=_REMEMBERED)

    def take(self, note: Note) -> list[FinishedSpan]:
        """Take the next note; returns the spans that have ended with it."""
        if not note.begins:
            return self._end(note)
        stack = self._stacks.setdefault(note.thread, [])
        ended = []
        if note.offset_ns is None:
            if not stack:
                return []  # its call began before anything was noted
            if stack[-1].note.name == semconv.SPAN_SETUP:
                ended.append(self._finished(stack.pop(), note))
            if note.name != SETUP_IS_OVER:
                self._begin(stack, note)
        else:
            self._begin(stack, note)
            self._begin(stack, note._replace(name=semconv.SPAN_SETUP))
        return ended

    def progress(self, now_ns: int, step_of: Callable[[int], int | None]) -> list[FinishedSpan]:
        """Make spans of what has been done of spans that go on for long.

        Args:
            now_ns: the time now.
            step_of: returns the step now, by thread.
        """
        found = []
        for thread, stack in self._stacks.items():
            if stack and now_ns - stack[-1].covered_ns >= self._interval_ns:
                outer = stack[-1]
                step = step_of(thread)
                begun = outer.note._replace(
                    name=semconv.SPAN_PROGRESS, time_ns=outer.covered_ns, step=outer.covered_step, offset_ns=None
                )
                part = _Open(begun, self._new_id(), outer.span_id, outer.offset_ns, 0, None)
                outer.covered_ns, outer.covered_step = now_ns, step
                found.append(self._finished(part, Note(semconv.SPAN_PROGRESS, now_ns, thread, False, step)))
        return found

    def settle(self, now_ns: int, step_of: Callable[[int], int | None], error: str | None = None) -> list[FinishedSpan]:
        """End everything that is open.

        Args:
            now_ns: the time now.
            step_of: returns the step now, by thread.
            error: type of the exception that has ended it; None where none has.
        """
        found = []
        for thread, stack in self._stacks.items():
            while stack:
                end = Note("", now_ns, thread, False, step_of(thread), error=error)
                found.append(self._finished(stack.pop(), end))
        self._stacks.clear()
        return found

    def add(self, span: NewSpan) -> list[FinishedSpan]:
        """Add a span with all that is in it, to the one that was open when it began; none where none was."""
        around = self._at(span.begin_ns)
        return [] if around is None else list(self._added(span, around.span_id, around.offset_ns))

    def open_at(self, time_ns: int) -> int | None:
        """Id of the innermost span that was open at a time of `perf_counter_ns`; None where none was."""
        around = self._at(time_ns)
        return None if around is None else around.span_id

    def _at(self, time_ns: int) -> _Ended | None:
        still_open = (
            _Ended(one.note.time_ns, _NEVER, one.span_id, one.offset_ns)
            for stack in self._stacks.values()
            for one in reversed(stack)
        )
        around = [one for one in (*still_open, *self._ended) if one.begin_ns <= time_ns < one.end_ns]
        return max(around, key=lambda one: (one.begin_ns, -one.end_ns), default=None)

    def _added(self, span: NewSpan, parent_id: int, offset_ns: int) -> Iterator[FinishedSpan]:
        own_id = self._new_id()
        begin_ns, end_ns = span.begin_ns + offset_ns, span.end_ns + offset_ns
        yield FinishedSpan(span.name, own_id, parent_id, begin_ns, end_ns, span.attributes)
        for child in span.children:
            yield from self._added(child, own_id, offset_ns)

    def _begin(self, stack: list[_Open], note: Note) -> None:
        outer = stack[-1] if stack else None
        offset_ns = note.offset_ns if outer is None else outer.offset_ns
        assert offset_ns is not None  # noqa: S101
        parent_id = None if outer is None else outer.span_id
        stack.append(_Open(note, self._new_id(), parent_id, offset_ns, note.time_ns, note.step))

    def _end(self, note: Note) -> list[FinishedSpan]:
        stack = self._stacks.get(note.thread, [])
        places = [place for place, one in enumerate(stack) if one.note.name == note.name]
        if not places:
            return []
        ended = []
        while len(stack) > places[-1]:
            one = stack.pop()
            # Nobody knows what has ended those within it.
            is_it = len(stack) == places[-1]
            ended.append(self._finished(one, note if is_it else note._replace(path=None)))
        if stack:
            stack[-1].covered_ns, stack[-1].covered_step = note.time_ns, note.step
        else:
            del self._stacks[note.thread]
        return ended

    def _finished(self, one: _Open, end: Note) -> FinishedSpan:
        begun = one.note
        self._ended.append(_Ended(begun.time_ns, end.time_ns, one.span_id, one.offset_ns))
        begin_ns, end_ns = begun.time_ns + one.offset_ns, end.time_ns + one.offset_ns
        attributes = dict(self._attributes(begun, end))
        return FinishedSpan(begun.name, one.span_id, one.parent_id, begin_ns, end_ns, attributes, end.error)

    def _attributes(self, begun: Note, end: Note) -> Iterator[tuple[str, Attribute]]:
        steps: Iterable[tuple[str, int | None]] = (
            (semconv.EPOCH, begun.epoch), (semconv.STEP_BEGIN, begun.step), (semconv.STEP_END, end.step)
        )  # fmt: skip
        yield from ((name, value) for name, value in steps if value is not None)
        if begun.is_sanity_check and begun.name == semconv.SPAN_VALIDATION:
            yield semconv.SANITY_CHECK, True
        if end.path is not None:
            yield semconv.FILE_NAME, end.path.rstrip("/").rpartition("/")[2]
            size = end.size
            if size is None and end.is_written:
                size = self._size_of(end.path)
            if size is not None:
                yield semconv.FILE_SIZE, size
