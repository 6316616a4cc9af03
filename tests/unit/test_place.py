from __future__ import annotations

import pytest

from tracelet_otel.resource.rank_info import RankInfo, job_of, rank_info_of

TORCHRUN = {
    "RANK": "3",
    "LOCAL_RANK": "1",
    "GROUP_RANK": "1",
    "WORLD_SIZE": "4",
    "MASTER_ADDR": "node-0",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_RESTART_COUNT": "0",
}
SLURM = {
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_NTASKS": "4",
    "SLURM_JOB_ID": "77",
    "SLURM_STEP_ID": "0",
}
LIGHTNING = {
    "LOCAL_RANK": "1",
    "NODE_RANK": "0",
    "WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "41001",
}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        (TORCHRUN, RankInfo(3, 1, 1, 4)),
        # Kubeflow's says neither the place on the node nor the node.
        ({"RANK": "1", "WORLD_SIZE": "2"}, RankInfo(1, None, None, 2)),
        (SLURM, RankInfo(3, 1, 1, 4)),
        ({**SLURM, **TORCHRUN, "RANK": "0"}, RankInfo(0, 1, 1, 4)),
        # A shell in a SLURM job, and a job without srun.
        ({**SLURM, "SLURM_JOB_NAME": "interactive"}, None),
        ({"SLURM_PROCID": "0", "SLURM_JOB_ID": "77"}, None),
        (LIGHTNING, RankInfo(1, 1, 0, 2)),
        # Its rank cannot be told from these.
        ({**LIGHTNING, "NODE_RANK": "1"}, RankInfo(None, 1, 1, 2)),
        # The first process of a node that is not the first, before Lightning has started the others.
        ({"NODE_RANK": "1"}, RankInfo(None, 0, 1, None)),
        ({"NODE_RANK": "0"}, None),
        ({"RANK": "", "LOCAL_RANK": "one"}, None),
    ],
)
def test_where_a_launcher_has_put_a_process(environment, expected):
    assert rank_info_of(environment) == expected


@pytest.mark.parametrize(
    ("place", "first", "other_node", "text"),
    [
        (RankInfo(0, 0, 0, 2), True, False, "rank 0"),
        (RankInfo(1, 1, 0, 2), False, False, "rank 1"),
        (RankInfo(2, 0, 1, 4), False, True, "rank 2 on node 1"),
        (RankInfo(None, 0, 1, None), False, True, "rank ? on node 1"),
        (RankInfo(1, None, None, 2), False, False, "rank 1"),
    ],
)
def test_who_owns_the_run(place, first, other_node, text):
    assert (place.is_first, place.is_on_another_node, str(place)) == (first, other_node, text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (TORCHRUN, {**TORCHRUN, "MASTER_PORT": "29501"}),
        (TORCHRUN, {**TORCHRUN, "MASTER_ADDR": "node-1"}),
        (TORCHRUN, {**TORCHRUN, "TORCHELASTIC_RUN_ID": "mine"}),
        (TORCHRUN, {**TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "1"}),
        (SLURM, {**SLURM, "SLURM_JOB_ID": "78"}),
        (SLURM, {**SLURM, "SLURM_STEP_ID": "1"}),
        (SLURM, {**SLURM, "SLURM_RESTART_COUNT": "1"}),
    ],
)
def test_jobs_are_told_apart(one, other):
    assert job_of(one) != job_of(other)


@pytest.mark.parametrize("environment", [TORCHRUN, SLURM, LIGHTNING])
def test_ranks_of_a_job_name_it_alike(environment):
    other = {"RANK": "0", "LOCAL_RANK": "0", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    assert job_of(environment) == job_of({**environment, **{k: v for k, v in other.items() if k in environment}})


def test_lightning_chooses_the_port_under_slurm_when_the_job_has_its_name():
    assert job_of(SLURM) == job_of({**SLURM, "MASTER_ADDR": "node-0", "MASTER_PORT": "15077"})


def test_a_process_that_no_launcher_started_has_no_job():
    assert job_of({}) is None
