"""Each launcher of Fabric's gives one run with what rank 0 logs, as Fabric's own loggers have it."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.ranks.witness import process
from tests.support.csv_points import csv_points
from tests.support.mlflow_store import stored_run
from tests.support.relays import ended_clean
from tests.support.waiting import free_port, wait_until

SCRIPT = Path(__file__).parent / "scripts" / "fabric_training.py"
slow = pytest.mark.slow


def command(launcher: str, *more: object) -> list[Any]:
    if launcher != "torchrun":
        return [SCRIPT, launcher, *more]
    found = importlib.util.find_spec("torch.distributed.run")
    assert found is not None
    return [found.origin, "--nproc_per_node", 2, "--master_port", free_port(), SCRIPT, "ddp", *more]


def expected(directory: Path) -> Counter[tuple[str, int, float]]:
    """What rank 0 has handed to Fabric's logger, and what is logged before there are ranks."""
    (path,) = directory.glob("csv/*/*/metrics.csv")
    return csv_points(path)


def in_store(database: Path) -> Counter[tuple[str, int, float]]:
    return Counter((name, step, value) for name, step, value, _ in stored_run(database).points)


@pytest.mark.parametrize(
    "launcher", ["ddp", "ddp_fork", *(pytest.param(one, marks=slow) for one in ("ddp_spawn", "torchrun"))]
)
def test_one_run_with_the_values_of_rank_0(tmp_path, database, run, launcher):
    done = run(*command(launcher))
    assert done.returncode == 0, done.stderr
    stored, found = stored_run(database), expected(tmp_path)
    assert stored.status == "FINISHED"
    assert in_store(database) == found
    assert {(name, value) for name, _, value in found if name == "rank"} == {("rank", 1.0)}
    processes = [process(tmp_path, rank) for rank in range(2)]
    assert [one["place"] for one in processes] == [
        {"tracelet.rank": rank, "tracelet.local_rank": rank, "tracelet.node_rank": 0} for rank in range(2)
    ]
    assert [one["owns"] for one in processes] == [launcher not in ("ddp_fork", "ddp_spawn"), False]
    assert stored.params["lightning/fabric/world_size"] == "2"
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")


@pytest.mark.parametrize("launcher", ["ddp", pytest.param("torchrun", marks=slow)])
def test_a_run_may_begin_when_the_ranks_have_been_started(tmp_path, database, run, launcher):
    done = run(*command(launcher, "after"))
    assert done.returncode == 0, done.stderr
    assert in_store(database) == expected(tmp_path)
    assert [process(tmp_path, rank)["owns"] for rank in range(2)] == [True, False]


@slow
def test_each_rank_has_its_series(tmp_path, database, run):
    done = run(*command("ddp_fork"), CONFIG=json.dumps({"ranks": "each"}))
    assert done.returncode == 0, done.stderr
    found = in_store(database)
    ranks = {(name, value) for name, _, value in found if name.startswith("rank/")}
    assert ranks == {("rank/rank_0", 1.0), ("rank/rank_1", 2.0)}
    assert found["rank/rank_1", 50, 2.0] == 1
    assert not [name for name, *_ in found if name == "only0/rank_1"]
    first = {(name, step, value) for name, step, value in expected(tmp_path) if name == "loss"}
    assert {
        (name.removesuffix("/rank_0"), step, value) for name, step, value in found if name == "loss/rank_0"
    } == first


@pytest.mark.parametrize(
    ("launcher", "rank"), [("ddp_fork", 0), pytest.param("ddp", 0, marks=slow), pytest.param("ddp", 1, marks=slow)]
)
def test_a_rank_that_fails_fails_the_run(database, run, launcher, rank):
    done = run(*command(launcher), FAILS=str(rank))
    assert done.returncode != 0
    wait_until(lambda: stored_run(database).status != "RUNNING", 60, "the run's end")
    stored = stored_run(database)
    assert stored.status == "FAILED"
    if (launcher, rank) == ("ddp", 0):
        assert stored.tags["tracelet.exception.type"] == "ArithmeticError"
    elif launcher == "ddp_fork":
        # What the process that owns the run has got of it.
        assert "ArithmeticError: diverged" in stored.tags["tracelet.exception.message"]
