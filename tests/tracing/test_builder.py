"""Spans of notes that come in every order, also where some are lost."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tracelet_otel import semconv
from tracelet_otel.instrumentation.tracing.builder import NewSpan, SpanBuilder
from tracelet_otel.instrumentation.tracing.notes import SETUP_IS_OVER, Note
from tracelet_otel.protocol.spans import FinishedSpan

OFFSET_NS = 1_000_000


class Thread:
    """Notes of one thread."""

    def __init__(self, number: int = 1) -> None:
        self._number = number

    def call(self, name: str, time_ns: int, step: int | None = None) -> Note:
        return Note(name, time_ns, self._number, True, step, None, OFFSET_NS)

    def begin(self, name: str, time_ns: int, step: int | None = None, epoch: int | None = None) -> Note:
        return Note(name, time_ns, self._number, True, step, epoch)

    def end(self, name: str, time_ns: int, step: int | None = None, **more: Any) -> Note:
        return Note(name, time_ns, self._number, False, step, **more)


@pytest.fixture
def builder() -> SpanBuilder:
    return SpanBuilder(itertools.count(1).__next__, 100, {"a directory": 7}.get)


ONE, TWO = Thread(1), Thread(2)
FIT = ONE.call("fit", 10, 0)


def taken(builder: SpanBuilder, *notes: Note) -> list[FinishedSpan]:
    return [span for note in notes for span in builder.take(note)]


def told(spans: list[FinishedSpan]) -> list[tuple[str, int, int | None, int, int, dict[str, Any], str | None]]:
    return [
        (
            span.name, span.span_id, span.parent_id, span.begin_unix_nano - OFFSET_NS, span.end_unix_nano - OFFSET_NS,
            {name.removeprefix("tracelet."): value for name, value in span.attributes.items()}, span.error,
        )
        for span in spans
    ]  # fmt: skip


def test_each_span_is_there_when_it_has_ended(builder):
    begun = taken(builder, FIT, ONE.begin("epoch", 20, 0, 3))
    assert told(begun) == [("setup", 2, 1, 10, 20, {"step.begin": 0, "step.end": 0}, None)]
    saved = ONE.end("checkpoint.save", 40, 4, path="/a/b.ckpt/", size=5)
    ended = taken(
        builder, ONE.begin("checkpoint.save", 30, 4, 3), saved, ONE.end("epoch", 50, 8), ONE.end("fit", 60, 8)
    )
    file = {"file.name": "b.ckpt", "file.size": 5}
    assert told(ended) == [
        ("checkpoint.save", 4, 3, 30, 40, {"epoch": 3, "step.begin": 4, "step.end": 4, **file}, None),
        ("epoch", 3, 1, 20, 50, {"epoch": 3, "step.begin": 0, "step.end": 8}, None),
        ("fit", 1, None, 10, 60, {"step.begin": 0, "step.end": 8}, None),
    ]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"path": "a directory"}, {"file.name": "a directory", "file.size": 7}),
        ({"path": "a directory", "is_written": False}, {"file.name": "a directory"}),
        ({"path": "s3://bucket/gone.ckpt"}, {"file.name": "gone.ckpt"}),
        ({}, {}),
    ],
)
def test_the_file_of_a_checkpoint(builder, more, expected):
    taken(builder, FIT, ONE.begin("checkpoint.save", 20))
    (found,) = builder.take(ONE.end("checkpoint.save", 30, **more))
    assert found.attributes == expected


def test_the_setup_of_an_evaluation_ends_with_its_loop(builder):
    found = taken(builder, ONE.call("test", 10), ONE.begin(SETUP_IS_OVER, 20), ONE.begin(SETUP_IS_OVER, 30))
    assert told(found) == [("setup", 2, 1, 10, 20, {}, None)]
    assert told(taken(builder, ONE.end("test", 40))) == [("test", 1, None, 10, 40, {}, None)]


def test_ends_that_are_lost_are_those_of_the_span_around(builder):
    notes = FIT, ONE.begin("epoch", 20), ONE.begin("validation", 30), ONE.end("fit", 40, error="E", path="x")
    found = taken(builder, *notes)
    assert [(span.name, span.end_unix_nano - OFFSET_NS, span.error) for span in found] == [
        ("setup", 20, None), ("validation", 40, "E"), ("epoch", 40, "E"), ("fit", 40, "E")
    ]  # fmt: skip
    assert semconv.FILE_NAME not in found[1].attributes


def test_what_has_no_beginning_is_no_span(builder):
    assert taken(builder, ONE.begin("epoch", 10), ONE.end("epoch", 20), ONE.end("fit", 30)) == []
    found = taken(builder, FIT, ONE.end("epoch", 20), ONE.end("fit", 30))
    assert [span.name for span in found] == ["setup", "fit"]


def test_each_thread_has_its_own_spans(builder):
    notes = FIT, TWO.call("test", 15), ONE.begin("epoch", 20), TWO.end("test", 30), ONE.end("epoch", 40)
    found = taken(builder, *notes, ONE.end("fit", 50))
    assert [(span.name, span.parent_id) for span in found] == [
        ("setup", 1), ("setup", 3), ("test", None), ("epoch", 1), ("fit", None)
    ]  # fmt: skip


def test_parts_begin_where_something_has_ended_last(builder):
    def step_of(thread: int) -> int:
        return 40 + thread

    taken(builder, FIT, ONE.begin("epoch", 20, 0, 3))
    assert builder.progress(119, step_of) == []
    (first,) = builder.progress(120, step_of)
    taken(builder, ONE.begin("validation", 150, 60), ONE.end("validation", 160, 60))
    assert builder.progress(259, step_of) == []
    (second,) = builder.progress(300, step_of)
    assert told([first, second]) == [
        ("progress", 4, 3, 20, 120, {"epoch": 3, "step.begin": 0, "step.end": 41}, None),
        ("progress", 6, 3, 160, 300, {"epoch": 3, "step.begin": 60, "step.end": 41}, None),
    ]


def test_the_end_of_a_run_ends_what_is_open(builder):
    taken(builder, FIT, ONE.begin("epoch", 20), TWO.call("test", 30))
    found = builder.settle(50, {1: 7}.get, "E")
    assert [span.attributes for span in found] == [
        {semconv.STEP_END: 7},
        {semconv.STEP_BEGIN: 0, semconv.STEP_END: 7},
        {},
        {},
    ]
    assert [(span.name, span.end_unix_nano - OFFSET_NS, span.error) for span in found] == [
        ("epoch", 50, "E"), ("fit", 50, "E"), ("setup", 50, "E"), ("test", 50, "E")
    ]  # fmt: skip
    assert builder.settle(60, {}.get) == []


def test_a_span_that_is_added_is_in_the_one_that_was_open(builder):
    phases = [NewSpan("data_wait", 21, 25), NewSpan("forward", 25, 29)]
    step = NewSpan("step", 21, 29, {semconv.STEP_BEGIN: 7}, phases)
    assert builder.add(step) == []
    taken(builder, FIT, ONE.begin("epoch", 20))
    expected = [("step", 21, 29, {"step.begin": 7}), ("data_wait", 21, 25, {}), ("forward", 25, 29, {})]
    for ended in ((), (ONE.end("epoch", 40),)):
        taken(builder, *ended)
        found = told(builder.add(step))
        assert [(name, begin, end, attributes) for name, _, _, begin, end, attributes, _ in found] == expected
        (own, *inner) = found
        assert own[2] == 3  # the epoch
        assert {phase[2] for phase in inner} == {own[1]}
    taken(builder, ONE.end("fit", 60))
    assert builder.add(NewSpan("step", 60, 61)) == []


def test_which_span_was_open(builder):
    taken(builder, FIT, ONE.begin("epoch", 20), ONE.begin("validation", 30), ONE.end("validation", 40))
    assert [builder.open_at(time_ns) for time_ns in (9, 10, 19, 20, 30, 39, 40, 1000)] == [None, 2, 2, 3, 4, 4, 3, 3]
    taken(builder, ONE.end("epoch", 50), ONE.end("fit", 60))
    assert [builder.open_at(time_ns) for time_ns in (9, 10, 20, 30, 40, 50, 60)] == [None, 2, 3, 4, 3, 1, None]
