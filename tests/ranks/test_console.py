"""What each rank prints is in the run's trackers, told apart, however ranks are started."""

from __future__ import annotations

import pytest

from tests.support.mlflow_files import mlflow_console
from tests.support.relays import ended_clean
from tests.support.waiting import wait_until


@pytest.mark.parametrize("strategy", ["ddp", "ddp_fork"])
@pytest.mark.parametrize("recorded", ["all", "true"])
def test_ranks_that_lightning_starts(run, tmp_path, database, strategy, recorded):
    child = run("prints.py", strategy, TRACELET_CONSOLE=recorded)
    assert child.returncode == 0, child.stderr
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    console = mlflow_console(database)

    def said(rank: int) -> list[str]:
        return sorted(line for line in console[rank] if line.startswith(("begun", "ended", "after")))

    def expected(rank: int) -> list[str]:
        # With `ddp_fork`, the process that has started the run only starts ranks.
        own = [f"begun in rank {rank}", f"ended in rank {rank}"]
        return own if rank and strategy == "ddp_fork" else [f"after the fit {rank}", *own]

    assert {rank: said(rank) for rank in console} == {
        rank: expected(rank) for rank in ((0, 1) if recorded == "all" else (0,))
    }
    assert sorted(line for line in child.stdout.splitlines() if line.startswith("begun")) == [
        "begun in rank 0",
        "begun in rank 1",
    ]
