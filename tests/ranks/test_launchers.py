"""Each launcher gives one run with the values of both ranks, as Lightning hands them to loggers there."""

from __future__ import annotations

import importlib.util
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ranks.witness import combined, process, witnessed
from tests.support.mlflow_store import StoredRun, multiset, stored_run, stored_runs
from tests.support.relays import ended_clean
from tests.support.sidecar import TOKEN, Relay
from tests.support.torchrun import ranks_of_a_node
from tests.support.waiting import free_port, wait_until
from tracelet_otel import semconv

STEPS = 6
SCRIPTS = Path(__file__).parent / "scripts"

slow = pytest.mark.slow


Command = tuple[str | Path, list[object], dict[str, str]]
"""A script, its arguments and its environment."""
RunAll = Callable[[list[Command]], list[str]]


@pytest.fixture
def run_all(start: Callable[..., Any]) -> RunAll:
    """Runs processes side by side; returns what each has printed on standard error."""

    def run_all(commands: list[Command]) -> list[str]:
        children = [start(script, *arguments, **environment) for script, arguments, environment in commands]
        outputs = [child.communicate(timeout=200) for child in children]
        for child, (out, err) in zip(children, outputs, strict=True):
            assert child.returncode == 0, out + err
        return [err for _, err in outputs]

    return run_all


def telling(commands: list[Command], **more: str) -> list[Command]:
    """The same commands with more in their environment."""
    return [(script, arguments, {**environment, **more}) for script, arguments, environment in commands]


def slurm(rank: int) -> dict[str, str]:
    return {
        "SLURM_JOB_ID": f"{os.getpid()}",
        "SLURM_JOB_NAME": "training",
        "SLURM_STEP_ID": "0",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_PROCID": f"{rank}",
        "SLURM_LOCALID": f"{rank}",
        "SLURM_NODEID": "0",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_NODELIST": "localhost",
        "MASTER_PORT": f"{20000 + os.getpid() % 20000}",
    }


def commands(launcher: str) -> list[Command]:
    arguments = ["ddp" if launcher in ("torchrun", "slurm") else launcher, STEPS]
    if launcher == "torchrun":
        found = importlib.util.find_spec("torch.distributed.run")
        assert found is not None
        assert found.origin is not None
        port = ["--nproc_per_node", 2, "--master_port", free_port()]
        return [(found.origin, [*port, SCRIPTS / "training.py", *arguments], {})]
    if launcher == "slurm":
        return [("training.py", arguments, slurm(rank)) for rank in range(2)]
    return [("training.py", arguments, {})]


def expected(tmp_path: Path) -> Counter:
    """What the run has to have: the k-th value of a name and step on one rank belongs to the k-th on the other."""
    found: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    for rank in range(2):
        seen: Counter[tuple[str, int]] = Counter()
        for name, step, value, _ in witnessed(tmp_path, rank):
            found[name, step, seen[name, step]].append(value)
            seen[name, step] += 1
    return multiset((name, step, combined(name, values)) for (name, step, _), values in found.items())


def nodes() -> list[Command]:
    """Two nodes with one rank each, as torchrun starts them."""
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "1",
        "TORCHELASTIC_RUN_ID": "none",
        "LOCAL_RANK": "0",
        "DEVICES": "1",
        "NODES": "2",
    }
    return [
        ("training.py", ["ddp", STEPS], {**common, "RANK": f"{rank}", "GROUP_RANK": f"{rank}"}) for rank in range(2)
    ]


def value(run: StoredRun, name: str, step: int) -> float:
    (found,) = [value for key, at, value, _ in run.points if (key, at) == (name, step)]
    return found


@pytest.mark.parametrize(
    "launcher",
    ["ddp", "ddp_fork", *(pytest.param(one, marks=slow) for one in ("ddp_spawn", "torchrun", "slurm"))],
)
def test_one_run_with_the_values_of_both_ranks(tmp_path, database, run_all: RunAll, launcher):
    run_all(commands(launcher))
    run = stored_run(database)
    assert run.status == "FINISHED"
    assert run.multiset == expected(tmp_path)
    # As the issue of ranks has it: 0 and 10 in the first batch.
    names = ["mean_step", "mean/sync_step", "sum_step", "sum/sync_step", "min_step", "max_step", "zero", "only1"]
    assert [value(run, name, 0) for name in names] == [5, 5, 10, 10, 0, 10, 0, 7]
    assert value(run, "count_step", 0) == 4
    # Over batches of unequal size ours is the mean of the ranks' means, Lightning's counts each sample.
    weighted, synced = value(run, "weighted", STEPS - 1), value(run, "weighted/sync", STEPS - 1)
    assert (weighted, synced) == (value(run, "mean_epoch", STEPS - 1), pytest.approx(weighted - 3))
    assert "only0" in {name for name, *_ in run.points}
    processes = [process(tmp_path, rank) for rank in range(2)]
    assert [one["place"] for one in processes] == [
        {"tracelet.rank": rank, "tracelet.local_rank": rank, "tracelet.node_rank": 0} for rank in range(2)
    ]
    # Where all ranks are children of the script's process, that is none, and owns the run.
    assert [one["owns"] for one in processes] == [launcher not in ("ddp_fork", "ddp_spawn"), False]
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")


def test_times_and_gradients_of_both_ranks_are_merged(tmp_path, database, run_all: RunAll):
    """The script checks that no value lacks a rank. Each step is logged, and has what both spent on it."""
    run_all(telling(commands("ddp_fork"), TRACELET_TRACK_TIME="true", TRACELET_TRACK_GRADIENTS="1"))
    points = stored_run(database).points
    # Once they are reduced, gradients are the same on both.
    norms = [point for point in points if point[0] == semconv.GRAD_NORM]
    assert sorted(step for _, step, *_ in norms) == list(range(STEPS))
    assert all(value > 0 for _, _, value, _ in norms)
    points = [point for point in points if point not in norms]
    times = [point for point in points if point[0].startswith(semconv.TIME_PREFIX)]
    assert multiset(point[:3] for point in points if point not in times) == expected(tmp_path)
    names = [*(semconv.TIME_PREFIX + phase for phase in semconv.PHASES), semconv.TIME_SAMPLES_PER_SECOND]
    assert Counter((name, step) for name, step, _, _ in times) == Counter(
        (name, step) for name in names for step in range(STEPS)
    )
    assert all(value > 0 for name, _, value, _ in times if name in ("time/forward", "time/samples_per_second"))


@slow
def test_each_rank_has_its_series(tmp_path, database, run_all: RunAll):
    run_all(telling(commands("ddp_fork"), CONFIG=json.dumps({"ranks": "each"})))
    run = stored_run(database)
    assert run.multiset == multiset(
        (f"{name}/rank_{rank}", step, value) for rank in range(2) for name, step, value, _ in witnessed(tmp_path, rank)
    )


@slow
def test_what_a_forked_rank_logs_through_its_parents_run(database, run_all: RunAll):
    run_all(telling(commands("ddp_fork"), FORKED="1"))
    assert value(stored_run(database), "by hand", 3) == 1.5


@slow
@pytest.mark.parametrize("launcher", ["ddp", "ddp_spawn", "ddp_fork"])
def test_of_what_our_own_logger_is_handed_the_run_has_that_of_the_first_rank(tmp_path, database, run_all, launcher):
    """As it is with Lightning's loggers; the run's own calls give the mean."""
    run_all(telling(commands(launcher), OWN_LOGGER="1"))
    run = stored_run(database)
    by_hand = Counter({("handed", 3, 1.0): 1, ("by hand", 3, 1.5): 1})
    assert run.multiset == expected(tmp_path) + by_hand


@slow
def test_a_rank_on_another_node_says_so_once_and_trains_on(tmp_path, database, run_all: RunAll):
    first_rank, second_rank = nodes()
    errors = ["nothing of rank 1 on node 1 is recorded", "values of rank 1 on node 1 were not delivered"]
    first, second = run_all([first_rank, *telling([second_rank], ERRORS=json.dumps(errors))])
    said = [line for line in second.splitlines() if "TRACELET_RELAY_ENDPOINT" in line]
    assert len(said) == 1
    assert said[0].startswith("tracelet: nothing of rank 1 on node 1 is recorded: it is on another node than rank 0")
    assert "TRACELET_RELAY_ENDPOINT" not in first
    # It trained all the same, and the run is that of rank 0.
    assert len(witnessed(tmp_path, 1)) == len(witnessed(tmp_path, 0))
    assert stored_run(database).multiset == multiset(row[:3] for row in witnessed(tmp_path, 0))


@slow
@pytest.mark.parametrize("same_node", [False, True], ids=["two nodes", "one node"])
def test_ranks_join_a_relay_that_runs_already(tmp_path, database, run_all: RunAll, warm_server, same_node):
    relay = Relay(database, tmp_path, warm_server=warm_server)
    relay.start()
    try:
        joining = {"TRACELET_RELAY_TOKEN": TOKEN, "TRACELET_RELAY_ENDPOINT": f"http://127.0.0.1:{relay.port}"}
        if same_node:
            # The run is told from rank to rank.
            run_all(telling(commands("ddp"), **joining))
        else:
            run_all(telling(nodes(), TRACELET_RUN_ID="of-two-nodes", **joining))
        wait_until(lambda: stored_run(database).status == "FINISHED", 30, "the run's end")
    finally:
        relay.end()
    assert stored_run(database).multiset == expected(tmp_path)


@slow
def test_what_rank_0_does_before_it_starts_others_and_alone_is_there_once(database, run):
    done = run("several.py")
    assert done.returncode == 0, done.stderr
    alone, both, again = stored_runs(database)
    assert [run.name for run in (alone, both, again)] == ["alone", "both", "again"]
    epochs = [("epoch", 0, 0.0), ("epoch", 1, 0.0)]
    once = [("rank", 0, 1.0), ("rank", 1, 1.0), *epochs]
    merged = [("rank", 0, 1.5), ("rank", 1, 1.5), *epochs]
    assert alone.multiset == multiset([*once, ("by hand", 0, 1.0)])
    test = [("test", 0, 1.0), ("epoch", 0, 0.0)]
    assert both.multiset == multiset([*once, *merged, ("before", 0, 1.0), ("after", 0, 1.5), *test])
    assert again.multiset == multiset([*merged, ("between", 0, 1.5)])
    assert {run.status for run in (alone, both, again)} == {"FINISHED"}


@pytest.mark.parametrize("launcher", ["ddp_fork", pytest.param("ddp_spawn", marks=slow)])
def test_each_training_has_processes_of_its_own(database, run, launcher):
    done = run("twice.py", launcher)
    assert done.returncode == 0, done.stderr
    stored = stored_run(database)
    values = [(name, value) for name, _, value, _ in stored.points if name != "epoch"]
    assert sorted(values) == [("test", 5.0), ("train", 5.0), ("train", 5.0)]
    # A copy sets no tag of the settings again, and of ranks only the first is heard.
    assert {name: stored.tags[name] for name in ("stage", "team", "rank")} == {
        "stage": "trains",
        "team": "vision",
        "rank": "0",
    }


def test_a_rank_that_is_done_before_the_relay_listens(database, start):
    first, second = ranks_of_a_node(2)
    early = start("short.py", **second)
    assert early.stdout.readline() == "done\n", early.stderr.read()
    late = start("short.py", **first)
    for child in (late, early):
        _, errors = child.communicate(timeout=200)
        assert child.returncode == 0, errors
    assert stored_run(database).multiset == multiset([("rank", 0, 1.5)])


@slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_copy_of_the_script_starts_nothing_at_its_top(database, run, method):
    done = run("copied.py", method)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "('', True)\n" * 2
    top, own = stored_runs(database)
    assert top.multiset == multiset([("mine", 0, 1.0)])
    # What a child asks for in so many words it gets.
    assert (own.name, own.multiset) == ("own", multiset([("kept", 0, 1.0)]))
