"""Properties of the merge: whatever the order and the gaps, each thing comes out once and right."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tracelet_otel import semconv
from tracelet_otel.protocol.decode import Reading
from tracelet_otel.relay.matches import Late, Merged
from tracelet_otel.relay.merge import Merge
from tracelet_otel.relay.reduction import reduced

LIMIT_S = 30.0
NAMES = ["a", "b", "c"]


def reading(name: str, value: float, sequence: int, step: int = 0, **more) -> Reading:
    return Reading(name, value, step, 0, semconv.AXIS_TRAINER, sequence, "fit", **{"world_size": 2, **more})


@dataclass(frozen=True)
class Program:
    """What the ranks of a training do: the same rows, of which each rank may leave out names."""

    world_size: int
    rows: list[tuple[int, int, list[dict[str, float]]]]
    """Training (its epoch too), step, and by rank the values of its row, in the order in which it logs them."""

    def streams(self) -> list[list[Reading]]:
        found: list[list[Reading]] = [[] for _ in range(self.world_size)]
        for number, (training, step, by_rank) in enumerate(self.rows):
            for stream, values in zip(found, by_rank, strict=True):
                for name, value in values.items():
                    one = reading(name, value, len(stream) + 1, step, training=training, epoch=training)
                    stream.append(one._replace(world_size=self.world_size, time_unix_nano=number))
        return found

    def expected(self) -> Counter[tuple[int, str, int, float]]:
        """From the program's rows, which no rank can know: what all ranks say in one row is one value."""
        return Counter(
            (training, name, step, reduced("mean", [values[name] for values in by_rank if name in values]))
            for training, step, by_rank in self.rows
            for name in dict.fromkeys(name for values in by_rank for name in values)
        )


@st.composite
def programs(draw: st.DrawFn) -> Program:
    world_size = draw(st.integers(2, 4))
    rows = []
    training = 1
    for number in range(draw(st.integers(1, 8))):
        training += draw(st.booleans())
        names = draw(st.lists(st.sampled_from(NAMES), unique=True))
        # What only some ranks log may not repeat: nobody could tell which of its occurrences belong together.
        uneven = draw(st.booleans())
        by_rank = []
        for _ in range(world_size):
            logged = draw(st.lists(st.sampled_from(names), unique=True)) if names and uneven else names
            values = {name: float(draw(st.integers(0, 5))) for name in logged}
            # As Lightning's rows have it; here it tells where the ranks are.
            by_rank.append({**values, "epoch": float(training)})
        rows.append((training, 10 + number if uneven else draw(st.integers(0, 2)), by_rank))
    return Program(world_size, rows)


@st.composite
def arrivals(draw: st.DrawFn, program: Program) -> list[tuple[int, list[Reading]]]:
    """Exports of the ranks' streams, interleaved in any way."""
    left = program.streams()
    found = []
    while any(left):
        rank = draw(st.sampled_from([rank for rank, stream in enumerate(left) if stream]))
        size = draw(st.integers(1, len(left[rank])))
        found.append((rank, left[rank][:size]))
        left[rank] = left[rank][size:]
    return found


def values_of(merged: list[Merged | Late]) -> Counter[tuple[int, str, int, float]]:
    assert all(isinstance(one, Merged) for one in merged), merged
    return Counter((one.reading.training, one.reading.name, one.reading.step, one.reading.value) for one in merged)


def sources_of(merged: list[Merged | Late]) -> Counter:
    return Counter(
        source[:2] for one in merged for source in (one.sources if isinstance(one, Merged) else (one.source,))
    )


def samples_of(streams: list[list[Reading]]) -> Counter:
    return Counter((f"p{rank}", one.sequence) for rank, stream in enumerate(streams) for one in stream)


@given(st.data())
def test_any_order_of_arrival_gives_the_same_values(data):
    program = data.draw(programs())
    merge = Merge(LIMIT_S)
    found = []
    for rank, readings in data.draw(arrivals(program)):
        found += merge.add(f"p{rank}", rank, readings, readings[-1].sequence, 0.0)
    found += merge.flush()
    assert values_of(found) == program.expected()
    assert merge.waiting == 0


@given(st.data())
def test_nothing_waits_behind_what_all_ranks_have_logged(data):
    program = data.draw(programs())
    last_names = {name for _, _, by_rank in program.rows[-1:] for values in by_rank for name in values}
    merge = Merge(LIMIT_S)
    for rank, readings in data.draw(arrivals(program)):
        merge.add(f"p{rank}", rank, readings, readings[-1].sequence, 0.0)
    # Only in the last row may a name be missing on some rank without anything after it to tell.
    assert merge.waiting <= len(last_names)


@given(st.data())
def test_the_parts_of_an_export_may_come_in_any_order(data):
    program = data.draw(programs())
    merge = Merge(LIMIT_S)
    found = []
    for rank, stream in enumerate(program.streams()):
        came: set[int] = set()
        for one in data.draw(st.permutations(stream)):
            came.add(one.sequence)
            complete_to = next(number for number in range(len(stream) + 1) if number + 1 not in came)
            found += merge.add(f"p{rank}", rank, [one], complete_to, 0.0)
    found += merge.flush()
    assert values_of(found) == program.expected()


@given(st.data())
def test_a_rank_that_dies_holds_nothing_up_and_loses_nothing(data):
    program = data.draw(programs())
    merge = Merge(LIMIT_S)
    dies = program.world_size - 1
    before = data.draw(st.integers(0, len(program.streams()[dies])))
    sent = [*program.streams()[:dies], program.streams()[dies][:before]]
    found = []
    for rank in data.draw(st.permutations(range(program.world_size))):
        found += merge.add(f"p{rank}", rank, sent[rank], len(sent[rank]), 0.0)
    found += merge.leave([dies])
    # What others wait for each other is theirs; at the latest their ends tell.
    for rank in range(dies):
        found += merge.leave([rank])
    assert merge.waiting == 0
    assert sources_of(found) == samples_of(sent)


@given(st.data())
def test_each_sample_is_used_once_however_late(data):
    program = data.draw(programs())
    merge = Merge(LIMIT_S)
    found = []
    now_s = 0.0
    for rank, readings in data.draw(arrivals(program)):
        now_s += data.draw(st.sampled_from([0.0, 1.0, 11.0, 31.0]))
        found += merge.expire(now_s)
        found += merge.add(f"p{rank}", rank, readings, readings[-1].sequence, now_s)
    found += merge.flush()
    assert sources_of(found) == samples_of(program.streams())
    # Nothing late is taken for another value: of each thing there are no more values than the program has.
    things = Counter()
    for (training, name, step, _), count in program.expected().items():
        things[training, name, step] += count
    merged = [one.reading for one in found if isinstance(one, Merged)]
    assert not Counter((one.training, one.name, one.step) for one in merged) - things


def test_a_slow_rank_is_waited_for_and_then_late():
    merge = Merge(LIMIT_S)
    merge.hear("p1", 1)
    assert merge.add("p0", 0, [reading("a", 0, 1)], 1, 0.0) == []
    assert merge.expire(LIMIT_S - 1) == []
    (alone,) = merge.expire(LIMIT_S)
    assert isinstance(alone, Merged)
    assert alone.reading.value == 0
    late = reading("a", 10, 1)
    assert merge.add("p1", 1, [late], 1, LIMIT_S + 1) == [Late(late, 1, ("p1", 1, 0))]
    # Its next occurrence is matched again.
    assert merge.add("p0", 0, [reading("a", 2, 2)], 2, LIMIT_S + 2) == []
    (merged,) = merge.add("p1", 1, [reading("a", 4, 2)], 2, LIMIT_S + 2)
    assert merged.reading.value == 3


def test_a_rank_that_never_logs_a_name_is_waited_for_once():
    merge = Merge(LIMIT_S)
    merge.hear("p1", 1)
    assert merge.add("p0", 0, [reading("a", 1, 1)], 1, 0.0) == []
    assert len(merge.expire(LIMIT_S)) == 1
    assert len(merge.add("p0", 0, [reading("a", 2, 2, step=1)], 2, LIMIT_S + 1)) == 1
    # For what all ranks log it still is, as after an epoch that only rank 0 had something to say of.
    assert merge.add("p0", 0, [reading("b", 0, 3, step=1)], 3, LIMIT_S + 1) == []
    (merged,) = merge.add("p1", 1, [reading("b", 10, 1, step=1)], 1, LIMIT_S + 2)
    assert merged.reading.value == 5
    # Until it logs that name.
    (late,) = merge.add("p1", 1, [reading("a", 1, 2, step=1)], 2, LIMIT_S + 2)
    assert isinstance(late, Late)
    assert merge.add("p0", 0, [reading("a", 3, 4, step=2)], 4, LIMIT_S + 3) == []


def test_processes_of_another_training_are_waited_for_again():
    merge = Merge(LIMIT_S)
    for training, processes in ((1, "ab"), (2, "cd")):
        first, second = processes
        merge.hear(first, 0)
        merge.hear(second, 1)
        one = reading("a", 0, 1, training=training)
        assert merge.add(first, 0, [one], 1, 0.0) == []
        (merged,) = merge.add(second, 1, [one._replace(value=10)], 1, 0.0)
        assert merged.reading.value == 5
        assert merge.leave([0, 1]) == []


def test_a_training_that_begins_again_is_not_mixed_with_the_one_before():
    merge = Merge(LIMIT_S)
    assert merge.add("old 0", 0, [reading("a", 100, 1)], 1, 0.0) == []
    merge.hear("old 1", 1)
    found = merge.add("new 1", 1, [reading("a", 3, 1)], 1, 1.0)
    assert [one.reading.value for one in found] == [100]
    found = merge.add("new 0", 0, [reading("a", 1, 1)], 1, 1.0)
    assert [one.reading.value for one in found] == [2]


@given(st.data())
def test_a_training_that_begins_again_is_whole_whatever_comes_late_of_the_one_before(data):
    program = data.draw(programs())
    streams = program.streams()
    before = [stream[: data.draw(st.integers(0, len(stream)))] for stream in streams]
    merge = Merge(LIMIT_S)
    for rank in range(program.world_size):
        merge.hear(f"old {rank}", rank)
    coming = {f"old {rank}": list(stream) for rank, stream in enumerate(before)}
    coming |= {f"new {rank}": list(stream) for rank, stream in enumerate(streams)}
    found = []
    while any(coming.values()):
        process = data.draw(st.sampled_from(sorted(process for process, left in coming.items() if left)))
        one = coming[process].pop(0)
        found += merge.add(process, int(process[-1]), [one], one.sequence, 0.0)
    found += merge.flush()
    merged = [one for one in found if isinstance(one, Merged)]
    new = [one for one in merged if any(source.process.startswith("new") for source in one.sources)]
    assert all(source.process.startswith("new") for one in new for source in one.sources)
    assert values_of(new) == program.expected()
    assert not any(one.lacks for one in merged)
    expected = Counter(
        (process, one.sequence)
        for name, part in (("old", before), ("new", streams))
        for rank, stream in enumerate(part)
        for process in [f"{name} {rank}"]
        for one in stream
    )
    assert sources_of(found) == expected
    assert merge.waiting == 0


def test_ranks_that_are_started_again_lack_nothing_and_their_last_words_are_late():
    merge = Merge(LIMIT_S)
    found = []
    for rank in range(3):
        found += merge.add(f"old {rank}", rank, [reading("a", rank, 1, world_size=3)], 1, 0.0)
    found += merge.add("old 0", 0, [reading("a", 7, 2, step=1, world_size=3)], 2, 1.0)
    for rank in range(3):
        found += merge.hear(f"new {rank}", rank)
    assert [(one.reading.value, one.lacks) for one in found] == [(1, 0), (7, 0)]
    straggler = reading("a", 9, 2, step=1, world_size=3)
    assert merge.add("old 1", 1, [straggler], 2, 2.0) == [Late(straggler, 1, ("old 1", 2, 0))]
    for rank in range(3):
        found = merge.add(f"new {rank}", rank, [reading("a", 3 * rank, 1, step=1, world_size=3)], 1, 3.0)
    assert [one.reading.value for one in found] == [3]


def test_a_name_that_a_rank_logs_no_more_is_not_lacked():
    merge = Merge(LIMIT_S)
    both = [reading("a", 1, 1), reading("rare", 1, 2)]
    merge.add("p0", 0, both, 2, 0.0)
    merge.add("p1", 1, both, 2, 0.0)
    # In the next row rank 1 logs the one name only, and after that it can send nothing for a while.
    merge.add("p0", 0, [reading("a", 1, 3, 1), reading("rare", 1, 4, 1), reading("a", 1, 5, 2)], 5, 1.0)
    merge.add("p1", 1, [reading("a", 1, 3, 1), reading("a", 1, 4, 2)], 4, 1.0)
    merge.add("p0", 0, [reading("a", 2, 6, 3), reading("rare", 2, 7, 3)], 7, 2.0)
    lacking = {one.reading.name: one.lacks for one in merge.expire(2.0 + LIMIT_S)}
    assert lacking == {"a": 0b10, "rare": 0}


def test_one_lost_sample_costs_one_wait():
    merge = Merge(LIMIT_S)
    found = []
    for step in range(1, 50):
        now_s = step * 1.0
        found += merge.expire(now_s)
        found += merge.add("p0", 0, [reading("a", 0, step, step)], step, now_s)
        if step != 3:
            found += merge.add("p1", 1, [reading("a", 10, step, step)], min(step, 2), now_s)
    assert Counter(one.reading.value for one in found if isinstance(one, Merged)) == Counter({5.0: 48, 0.0: 1})
    assert not [one for one in found if isinstance(one, Late)]


def test_a_rank_of_which_nothing_at_all_comes_is_waited_for_shortly():
    merge = Merge(LIMIT_S)
    assert merge.add("p0", 0, [reading("a", 1, 1)], 1, 0.0) == []
    assert len(merge.expire(10.0)) == 1
    assert len(merge.add("p0", 0, [reading("a", 2, 2, step=1)], 2, 10.0)) == 1


def test_a_rank_that_was_given_up_on_and_comes_is_waited_for_again():
    merge = Merge(LIMIT_S)
    assert merge.add("p0", 0, [reading("a", 0, 1, step=0)], 1, 0.0) == []
    assert len(merge.expire(10.0)) == 1
    late = reading("a", 10, 1, step=0)
    assert merge.add("p1", 1, [late], 1, 11.0) == [Late(late, 1, ("p1", 1, 0))]
    assert merge.add("p0", 0, [reading("a", 2, 2, step=1)], 2, 12.0) == []
    (merged,) = merge.add("p1", 1, [reading("a", 4, 2, step=1)], 2, 12.0)
    assert merged.reading.value == 3


def test_what_is_lost_on_the_way_is_not_waited_for_without_end():
    merge = Merge(LIMIT_S)
    (one,) = [reading("a", 5, 2)]
    assert merge.add("p0", 0, [one], 0, 0.0) == []
    assert merge.add("p1", 1, [one._replace(sequence=1)], 1, 0.0) == []
    assert merge.waiting == 2
    found = merge.expire(LIMIT_S)
    assert [merged.reading.value for merged in found] == [5]
    assert merge.waiting == 0


def test_one_name_in_two_orders_within_a_row():
    merge = Merge(LIMIT_S)
    assert merge.add("p0", 0, [reading("a", 1, 1), reading("b", 2, 2)], 2, 0.0) == []
    found = merge.add("p1", 1, [reading("b", 4, 1), reading("a", 3, 2)], 2, 0.0)
    assert values_of(found) == Counter({(0, "b", 0, 3.0): 1, (0, "a", 0, 2.0): 1})


def test_a_long_wait_has_its_limit_in_memory(monkeypatch):
    monkeypatch.setattr("tracelet_otel.relay.merge._MOST_OPEN", 100)
    merge = Merge(LIMIT_S)
    found = merge.add("p0", 0, [reading("a", 1, number, step=number) for number in range(1, 1001)], 1000, 0.0)
    assert len(found) + merge.waiting == 1000
    assert merge.waiting <= 100


def test_what_was_missed_is_remembered_up_to_a_limit_in_memory(monkeypatch):
    monkeypatch.setattr("tracelet_otel.relay.merge._MOST_MISSED", 2)
    merge = Merge(LIMIT_S)
    merge.hear("p1", 1)

    def late(start_s, steps):
        """The steps of rank 1 that are known to come too late, where rank 0 was not to wait for them any longer."""
        readings = [reading("a", 0, step, step=step) for step in steps]
        assert merge.add("p0", 0, readings, steps[-1], start_s) == []
        assert len(merge.expire(start_s + LIMIT_S)) == len(steps)
        found = merge.add("p1", 1, readings, steps[-1], start_s + LIMIT_S)
        assert all(isinstance(one, Late) for one in found)
        return [one.reading.step for one in found]

    assert late(0.0, [1, 2]) == [1, 2]
    # What has come is not remembered any longer, and leaves its place to others.
    assert late(100.0, [3, 4]) == [3, 4]
    # The oldest are forgotten first.
    assert late(200.0, [5, 6, 7, 8]) == [7, 8]


@st.composite
def rank_values(draw: st.DrawFn) -> list[float]:
    """What one to six ranks have logged: often all the same, since a count of samples is."""
    value = st.floats(width=32) | st.sampled_from([0.1, 1.0, 32.0, math.inf, -math.inf, math.nan, 1.7e308, -1.6e308])
    count = draw(st.integers(1, 6))
    if draw(st.booleans()):
        return [draw(value)] * count
    return draw(st.lists(value, min_size=count, max_size=count))


def defined(reduction: str, values: list[float]) -> float:
    """A reduction by its definition, computed exactly where all values are finite."""
    if reduction == "none":
        return values[0]
    if any(math.isnan(value) for value in values):
        return math.nan
    if reduction in ("min", "max"):
        return {"min": min, "max": max}[reduction](values)
    infinities = {value for value in values if math.isinf(value)}
    if infinities:
        return infinities.pop() if len(infinities) == 1 else math.nan
    exact = sum(map(Fraction, values))
    try:
        return float(exact / len(values) if reduction == "mean" else exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


@given(st.sampled_from(["mean", "sum", "min", "max", "none"]), rank_values())
@example("mean", [1.7e308, 1.7e308, -math.inf])
def test_reductions(reduction, values):
    assert reduced(reduction, values) == pytest.approx(defined(reduction, values), rel=1e-15, abs=0, nan_ok=True)


@given(st.floats(allow_nan=False), st.integers(1, 8))
def test_the_mean_of_equal_values_is_that_value(value, ranks):
    assert reduced("mean", [value] * ranks) == value
