"""Many ranks, a network that loses and delays, a relay and ranks that are killed: every mean is right or named."""

from __future__ import annotations

import json
import random
import re
import signal
from collections import Counter, defaultdict
from fractions import Fraction

import pytest

from tests.support.lossy import DELAYED, LOST, OVERTAKEN, UNANSWERED, LossyDoor
from tests.support.mlflow_store import stored_run
from tests.support.sidecar import TOKEN, Relay
from tests.support.waiting import wait_until
from tracelet_otel import semconv
from tracelet_otel._support.guard import UNDELIVERED
from tracelet_otel.protocol.decode import decode
from tracelet_otel.protocol.requests import parse, resource_of
from tracelet_otel.session.calls import Address, fetch_status

RUN_ID = "chaos"
RANKS = 64
TOGETHER = [(0, 16), (16, 32), (32, 48), (48, 60), *((number, number + 1) for number in range(60, 64))]
"""The ranks of each process."""
MAY_DIE = range(3, len(TOGETHER))
"""The processes of which some are killed: a whole one of many ranks, and single ranks."""
ROWS, ROW_S = 75, 0.2
INTERVAL_S = 0.2
ILLS = {LOST: 0.02, UNANSWERED: 0.02, OVERTAKEN: 0.01, DELAYED: 0.05}
LONGEST_S = 5.0
RANK_TIMEOUT_S = 20
"""Longer than all delays and pauses that a request may meet."""


class Ranks:
    """The processes of all ranks."""

    def __init__(self, start, home, port, seed):
        self._home = home
        self._children = [
            start(
                "ranks.py",
                json.dumps(
                    {
                        "first": first,
                        "last": last,
                        "home": str(home),
                        "endpoint": f"http://127.0.0.1:{port}",
                        "token": TOKEN,
                        "run_id": RUN_ID,
                        "world_size": RANKS,
                        "rows": ROWS,
                        "row_s": ROW_S,
                        "export_interval_s": INTERVAL_S,
                        "seed": seed,
                    }
                ),
            )
            for first, last in TOGETHER
        ]
        self.killed: set[int] = set()

    @property
    def rows(self):
        """How many rows the first rank has logged."""
        file = self._home / "rank 0"
        return file.read_text().count("\n") if file.exists() else 0

    def kill(self, process):
        assert self._children[process].poll() is None
        self._children[process].send_signal(signal.SIGKILL)
        self.killed |= set(range(*TOGETHER[process]))

    def end(self):
        """Wait for the end of those that live; returns what went wrong in each, by rank."""
        problems = {}
        for child, (first, _) in zip(self._children, TOGETHER, strict=True):
            output, errors = child.communicate(timeout=120)
            if first not in self.killed:
                assert child.returncode == 0, errors
                problems |= json.loads(output)
        return problems

    @property
    def logged(self):
        """What each rank says that it has logged: its values by name and step."""
        found = {}
        for rank in range(RANKS):
            lines = (self._home / f"rank {rank}").read_text().splitlines(keepends=True)
            rows = [json.loads(line) for line in lines if line.endswith("\n")]
            found[rank] = {(name, step): int(value) for step, values in rows for name, value in values.items()}
        return found


def come(passed, ranks):
    """What the relay has said that it has of some ranks, and what it may have: by rank, sets of names and steps."""
    taken, doubtful = defaultdict(set), defaultdict(set)
    for one in passed:
        request = parse(one.content)
        if any(resource_of(part).get(semconv.RANK) in ranks for part in request.resource_metrics):
            for batch in decode(request.resource_metrics):
                places = {(reading.name, reading.step) for reading in batch.readings}
                (taken if one.status == 200 else doubtful)[batch.rank].update(places)
    return taken, doubtful


def possible_means(logged, killed, passed):
    """All means that each name may have at each step: with and without what of killed ranks nobody knows of."""
    taken, doubtful = come(passed, killed)
    sure, unsure = defaultdict(list), defaultdict(list)
    for rank, values in logged.items():
        for place, value in values.items():
            if rank not in killed or place in taken[rank]:
                sure[place].append(value)
            elif place in doubtful[rank]:
                unsure[place].append(value)
    return {place: means(sure[place], unsure[place]) for place in sure.keys() | unsure.keys()}


def means(sure, unsure):
    sums = {(sum(sure), len(sure))}
    for value in unsure:
        sums |= {(whole + value, count + 1) for whole, count in sums}
    return {float(Fraction(whole, count)) if count else None for whole, count in sums}


def named(errors):
    """Names and steps that the relay says to lack values of ranks."""
    for error in errors:
        if found := re.fullmatch(r"'(.+)' lacks values of ranks at steps? ([\d, to]+)", error):
            for part in found[2].split(", "):
                first, _, last = part.partition(" to ")
                yield from ((found[1], step) for step in range(int(first), int(last or first) + 1))


def compare(possible, points, known):
    """What is wrong, in words."""
    stored = Counter((name, step) for name, step, *_ in points)
    yield from (f"{place} is there {count} times" for place, count in stored.items() if count > 1)
    yield from (f"{place} was never logged" for place in stored.keys() - possible.keys())
    needed = (place for place, means in possible.items() if None not in means)
    yield from (f"{place} is missing" for place in sorted(needed) if place not in stored)
    for name, step, value, _ in points:
        if (name, step) not in known and value not in possible.get((name, step), ()):
            yield f"{name, step} is {value}, not one of {possible.get((name, step))}"


@pytest.fixture
def relay(tmp_path, database, warm_server, monkeypatch):
    monkeypatch.setenv("TRACELET_RANK_TIMEOUT", str(RANK_TIMEOUT_S))
    monkeypatch.setenv("TRACELET_EXPORT_INTERVAL", str(INTERVAL_S))
    relay = Relay(database, tmp_path, warm_server=warm_server)
    relay.start()
    yield relay
    if relay.process.poll() is None:
        relay.end(signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_every_mean_is_right_or_named(tmp_path, database, start, relay, seed):
    chance = random.Random(seed)
    door = LossyDoor(relay.port, seed, ILLS, LONGEST_S)
    ranks = Ranks(start, tmp_path, door.port, seed)
    for row, process in deaths(chance):
        wait_until(lambda row=row: ranks.rows > row, 60, f"row {row}")
        if process is None:
            relay.end(signal.SIGKILL)
            relay.start()
        else:
            ranks.kill(process)
    problems = ranks.end()
    address = Address(f"http://127.0.0.1:{relay.port}", TOKEN)
    wait_until(lambda: (one := fetch_status(address, RUN_ID)) is not None and one.over, 60, "the run's end")
    door.close()
    status, run = fetch_status(address, RUN_ID), stored_run(database)
    possible, known = possible_means(ranks.logged, ranks.killed, door.passed), set(named(status.errors))
    assert not list(compare(possible, run.points, known)), (seed, status.errors, ranks.killed)
    # Ranks are waited for longer than any delay takes. What is named all the same is little.
    assert len(known) < len(possible) / 10, (seed, status.errors)
    assert run.status == "FINISHED"
    assert not [rank for rank, errors in problems.items() if UNDELIVERED in errors], (seed, problems)
    assert all(door.befell[ill] > 10 for ill in ILLS), (seed, door.befell)


def deaths(chance):
    """Who is killed after which row: the relay, which is None, in each third, and processes of ranks in the middle."""
    dying = [MAY_DIE[0], *chance.sample(MAY_DIE[1:], 2)]
    of_ranks = [(chance.randrange(ROWS // 5, ROWS * 4 // 5), process) for process in dying]
    of_relay = [(chance.randrange(ROWS * third // 3, ROWS * (third + 1) // 3), None) for third in range(3)]
    return sorted([*of_ranks, *of_relay], key=lambda death: death[0])
