"""Requests that wait: which of them give way, and to what."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from tests.support.sdk import exported
from tracelet_otel.exporters.otlp.backlog import Backlog, Body
from tracelet_otel.protocol.metrics_data import with_attributes

OVERHEAD = Body(b"", is_gzip=False, samples=0).size


def body(instruments, samples=0, size=0):
    repeats = None if samples else names(instruments)
    return Body(b"x" * size, is_gzip=False, samples=samples, repeats=repeats)


def names(instruments):
    return frozenset(("scope", name) for name in instruments)


def put(backlog, instruments, samples=0, size=0):
    export = body(instruments, samples, size)
    return export, backlog.put([export], lambda: names(instruments))


def left(backlog):
    found = []
    while backlog:
        found.append(backlog.first)
        backlog.pop()
    return found


def test_of_exports_without_samples_the_newest_of_its_instruments_is_kept():
    backlog = Backlog(10_000)
    first, *_, last_c, last_ab = [put(backlog, names)[0] for names in ("ab", "ab", "a", "c", "ab")]
    assert left(backlog) == [first, last_c, last_ab]


def test_an_export_with_samples_replaces_and_is_never_replaced():
    backlog = Backlog(10_000)
    first, _, _, samples, last = [put(backlog, *one)[0] for one in (("x",), ("a",), ("b",), ("abc", 2), ("abc",))]
    assert backlog.samples == 2
    assert left(backlog) == [first, samples, last]


def test_the_parts_of_one_export_do_not_replace_each_other():
    backlog = Backlog(10_000)
    parts = [body("ab"), body("ab")]
    put(backlog, "x")
    backlog.put(parts, lambda: names("ab"))
    assert left(backlog)[1:] == parts


def test_the_oldest_behind_the_first_give_way_and_their_samples_are_counted():
    backlog = Backlog(2 * (OVERHEAD + 100))
    exports, dropped = zip(*[put(backlog, "a", number, 100) for number in range(1, 7)], strict=True)
    # What is on its way takes nothing of the room.
    assert dropped == (0, 0, 0, 2, 3, 4)
    assert backlog.has_dropped
    assert left(backlog) == [exports[0], *exports[-2:]]
    assert not backlog.has_dropped


def test_an_export_is_not_dropped_for_itself():
    backlog = Backlog(100)
    put(backlog, "a", 1)
    large = [body("a", 1, 1000), body("a", 1, 1000)]
    assert backlog.put(large, lambda: names("a")) == 0
    assert left(backlog)[1:] == large


def test_what_waits_is_the_same_compressed_and_not():
    content = bytes(range(256)) * 100
    packed = Body(Body(content, is_gzip=False, samples=1).gzip, is_gzip=True, samples=1)
    assert len(packed.content) < len(content) / 10
    assert packed.protobuf == content
    assert packed.gzip is packed.content


@given(st.lists(st.tuples(st.binary(max_size=300), st.booleans(), st.integers(0, 3)), min_size=1), st.integers(0, 2000))
def test_requests_that_are_joined_say_the_same_and_can_be_divided(found, most_bytes):
    bodies = [Body(content, is_gzip=False, samples=samples) for content, _, samples in found]
    bodies = [body.packed if is_packed else body for body, (_, is_packed, _) in zip(bodies, found, strict=True)]
    backlog = Backlog(10**9)
    backlog.put(bodies, lambda: names(""))
    backlog.join(most_bytes)
    joined = backlog.first
    number = len(joined.parts) or 1
    assert joined.protobuf == b"".join(content for content, _, _ in found[:number])
    assert joined.samples == sum(samples for _, _, samples in found[:number])
    # As many as there is room for.
    sizes = list(accumulate(len(content) for content, _, _ in found))
    assert number == max(1, sum(size <= most_bytes for size in sizes))
    assert backlog.samples == sum(samples for _, _, samples in found)
    if joined.parts:
        assert backlog.divide() == number
    assert left(backlog) == bodies


def test_attributes_are_added_to_each_resource():
    data = exported([{"a": 1.0}])
    assert with_attributes(data, {}) is data
    (resource,) = (one.resource for one in with_attributes(data, {"rank": 1}).resource_metrics)
    assert resource.attributes["rank"] == 1
    assert resource.attributes["tracelet.run.id"] == "r1"
