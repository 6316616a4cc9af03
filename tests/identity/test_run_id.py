"""One id for all ranks of a job, another one for every other process: in real processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tracelet_otel.detector import TraceletResourceDetector

PRINTS = """
from tracelet_otel.detector import TraceletResourceDetector
print(TraceletResourceDetector().detect().attributes["tracelet.run.id"])
"""
STARTS = f"""
import os, subprocess, sys
from tracelet_otel.detector import TraceletResourceDetector
print(TraceletResourceDetector().detect().attributes["tracelet.run.id"])
print(TraceletResourceDetector().detect().attributes["tracelet.run.id"], flush=True)
for more in ({{"LOCAL_RANK": "1", "WORLD_SIZE": "2"}}, {{"LOCAL_RANK": "2", "WORLD_SIZE": "2"}}, {{}}, {{}}):
    subprocess.run([sys.executable, "-c", {PRINTS!r}], env={{**os.environ, **more}}, check=True)
"""
SLURM = {"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "train"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "WORLD_SIZE": "2"}


def ids(script: str, *environments: dict[str, str]) -> list[str]:
    """What processes print that one process starts, one after the other."""
    found = []
    for environment in environments:
        child = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        assert child.stderr == ""
        found += child.stdout.split()
    return found


def test_who_is_started_as_a_rank_has_the_id_of_who_started_it():
    own, again, first, second, other, another = ids(STARTS, {})
    assert own == again == first == second
    assert len({own, other, another}) == 3


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_have_the_id_of_their_process(tmp_path, method):
    (tmp_path / "workers.py").write_text(
        f"""
import multiprocessing
from tracelet_otel.detector import TraceletResourceDetector

def tell(*_):
    return TraceletResourceDetector().detect().attributes["tracelet.run.id"]

if __name__ == "__main__":
    print(tell(), flush=True)
    with multiprocessing.get_context({method!r}).Pool(1) as pool:
        print(*pool.map(tell, [1]))
        pool.close()
        pool.join()
"""
    )
    found = subprocess.run(
        [sys.executable, "workers.py"], cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=True
    )
    assert len(set(found.stdout.split())) == 1


def test_ranks_that_a_scheduler_starts():
    ranks = [{**SLURM, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in range(2)]
    assert len(set(ids(PRINTS, *ranks))) == 1
    later = [{**rank, "SLURM_JOB_ID": "78"} for rank in ranks]
    restarted = [{**rank, "SLURM_RESTART_COUNT": "1"} for rank in ranks]
    assert len(set(ids(PRINTS, *ranks, *later, *restarted))) == 3


def test_trainings_of_a_job_of_one_task_are_told_apart():
    alone = {**SLURM, "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    assert len(set(ids(PRINTS, alone, alone))) == 2


def test_ranks_of_torchrun_have_what_their_agent_gives_them():
    """Without a name of the job, what tells it from the next one is the process that starts its ranks."""
    ranks = [{**TORCHRUN, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    agent = f"""
import os, subprocess, sys
for more in {ranks!r}:
    subprocess.run([sys.executable, "-c", {PRINTS!r}], env={{**os.environ, **more}}, check=True)
"""
    one, two = ids(agent, {}), ids(agent, {})
    assert len(set(one)) == len(set(two)) == 1
    assert one != two
    named = [{**rank, "TORCHELASTIC_RUN_ID": "job-7", "GROUP_WORLD_SIZE": "2"} for rank in ranks]
    assert len(set(ids(agent.replace(repr(ranks), repr(named)), {}, {}))) == 1


def test_nodes_without_a_name_of_their_job_are_not_told_apart_wrongly():
    ranks = [
        {**TORCHRUN, "RANK": str(n), "LOCAL_RANK": "0", "GROUP_RANK": str(n), "GROUP_WORLD_SIZE": "2"} for n in (0, 1)
    ]
    assert len(set(ids(PRINTS, *ranks))) == 2


@pytest.mark.parametrize("left", ["", "nonsense", ".x", "12", "12."])
def test_what_is_left_may_be_nonsense(monkeypatch, left):
    monkeypatch.setenv("TRACELET_PARENT_RUN", left)
    monkeypatch.setenv("LOCAL_RANK", "1")
    found = TraceletResourceDetector().detect().attributes["tracelet.run.id"]
    assert len(found) == 32
