"""One id for all ranks of a job, another one for every other process: in real processes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tracelet_otel.resource.detector import TraceletResourceDetector

SLURM = {"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "train"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "WORLD_SIZE": "2"}


Environment = dict[str, str]


@pytest.fixture
def ids(run) -> Callable[..., list[str]]:
    """What processes print that this one starts, one after the other: `ids(script, *arguments, of=environments)`."""

    def ids(script: str, *arguments: object, of: list[Environment]) -> list[str]:
        found = []
        for environment in of:
            child = run(script, *arguments, **environment)
            assert (child.returncode, child.stderr) == (0, "")
            found += child.stdout.split()
        return found

    return ids


@pytest.mark.cold
def test_who_is_started_as_a_rank_has_the_id_of_who_started_it(ids):
    started = [{"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, {"LOCAL_RANK": "2", "WORLD_SIZE": "2"}, {}, {}]
    own, again, first, second, other, another = ids("agent.py", 2, *map(json.dumps, started), of=[{}])
    assert own == again == first == second
    assert len({own, other, another}) == 3


@pytest.mark.cold
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_have_the_id_of_their_process(ids, method):
    own, workers = ids("workers.py", method, of=[{}])
    assert own == workers


@pytest.mark.cold
def test_ranks_that_a_scheduler_starts(ids):
    ranks = [{**SLURM, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in range(2)]
    later = [{**rank, "SLURM_JOB_ID": "78"} for rank in ranks]
    restarted = [{**rank, "SLURM_RESTART_COUNT": "1"} for rank in ranks]
    first, same, next_, same_as_next, again, same_as_again = ids("run_id.py", of=[*ranks, *later, *restarted])
    assert (first, next_, again) == (same, same_as_next, same_as_again)
    assert len({first, next_, again}) == 3


@pytest.mark.cold
def test_trainings_of_a_job_of_one_task_are_told_apart(ids):
    alone = {**SLURM, "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    assert len(set(ids("run_id.py", of=[alone, alone]))) == 2


@pytest.mark.cold
def test_ranks_of_torchrun_have_what_their_agent_gives_them(ids):
    """Without a name of the job, what tells it from the next one is the process that starts its ranks."""
    ranks = [{**TORCHRUN, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    one, same, two, same_as_two = ids("agent.py", 0, *map(json.dumps, ranks), of=[{}, {}])
    assert (one, two) == (same, same_as_two)
    assert one != two
    named = [{**rank, "TORCHELASTIC_RUN_ID": "job-7", "GROUP_WORLD_SIZE": "2"} for rank in ranks]
    found = ids("agent.py", 0, *map(json.dumps, named), of=[{}, {}])
    assert len(found) == 4
    assert len(set(found)) == 1


@pytest.mark.cold
def test_nodes_without_a_name_of_their_job_are_not_told_apart_wrongly(ids):
    ranks = [
        {**TORCHRUN, "RANK": str(n), "LOCAL_RANK": "0", "GROUP_RANK": str(n), "GROUP_WORLD_SIZE": "2"} for n in (0, 1)
    ]
    assert len(set(ids("run_id.py", of=ranks))) == 2


@pytest.mark.parametrize("left", ["", "nonsense", ".x", "12", "12."])
def test_what_is_left_may_be_nonsense(monkeypatch, left):
    monkeypatch.setenv("TRACELET_PARENT_RUN", left)
    monkeypatch.setenv("LOCAL_RANK", "1")
    found = TraceletResourceDetector().detect().attributes["tracelet.run.id"]
    assert len(found) == 32
