"""What schedulers and launchers say of a job, and nothing else of its environment."""

from __future__ import annotations

import pytest

from tracelet_otel.resource.kubernetes import kubernetes_attributes
from tracelet_otel.resource.scheduler import scheduler_attributes

SECRETS = {"AWS_SECRET_ACCESS_KEY": "s", "WANDB_API_KEY": "s", "SLURM_JWT": "s", "HOSTNAME": "box", "NODE_NAME": "n"}


@pytest.mark.parametrize(
    ("environment", "attributes"),
    [
        ({}, {}),
        (
            {
                "SLURM_JOB_ID": "4711",
                "SLURM_JOB_NAME": "größe\udcff",
                "SLURM_JOB_PARTITION": "gpu",
                "SLURM_JOB_NUM_NODES": "4",
                "SLURM_ARRAY_JOB_ID": "4700",
                "SLURM_ARRAY_TASK_ID": "11",
                "SLURM_STEP_ID": "0",
                "SLURM_CLUSTER_NAME": "juno",
                "SLURMD_NODENAME": "node007",
                "SLURM_RESTART_COUNT": "1",
            },
            {
                "tracelet.slurm.job.id": "4711",
                "tracelet.slurm.job.name": r"größe\udcff",
                "tracelet.slurm.job.partition": "gpu",
                "tracelet.slurm.job.num_nodes": 4,
                "tracelet.slurm.array.job.id": "4700",
                "tracelet.slurm.array.task.id": "11",
                "tracelet.slurm.step.id": "0",
                "tracelet.slurm.cluster.name": "juno",
                "tracelet.slurm.node.name": "node007",
                "tracelet.slurm.restart.count": 1,
            },
        ),
        ({"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "", "SLURM_RESTART_COUNT": "?"}, {"tracelet.slurm.job.id": "1"}),
        (
            {"TORCHELASTIC_RUN_ID": "job-7", "TORCHELASTIC_RESTART_COUNT": "2"},
            {"tracelet.torchrun.run.id": "job-7", "tracelet.torchrun.restart.count": 2},
        ),
        (
            {"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0"},
            {"tracelet.torchrun.restart.count": 0},
        ),
    ],
)
def test_the_job_of_slurm_and_torchrun(environment, attributes):
    assert scheduler_attributes({**SECRETS, **environment}) == attributes


KUBERNETES = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


@pytest.mark.parametrize(
    ("environment", "attributes"),
    [
        ({"POD_NAME": "train-0", "POD_NAMESPACE": "ml"}, {}),
        (KUBERNETES, {"k8s.pod.name": "box", "k8s.node.name": "n"}),
        (
            {**KUBERNETES, "POD_NAME": "train-0", "MY_NODE_NAME": "ignored", "POD_UID": "u", "MY_POD_NAMESPACE": "ml"},
            {"k8s.pod.name": "train-0", "k8s.pod.uid": "u", "k8s.namespace.name": "ml", "k8s.node.name": "n"},
        ),
        (
            {
                **KUBERNETES,
                "K8S_POD_NAME": "train-0",
                "POD_NAME": "other",
                "K8S_POD_UID": "u",
                "K8S_NAMESPACE": "ml",
                "K8S_NODE_NAME": "node",
                "CONTAINER_NAME": "main",
            },
            {
                "k8s.pod.name": "train-0",
                "k8s.pod.uid": "u",
                "k8s.namespace.name": "ml",
                "k8s.node.name": "node",
                "k8s.container.name": "main",
            },
        ),
    ],
)
def test_the_pod_of_kubernetes(tmp_path, environment, attributes):
    assert kubernetes_attributes({**SECRETS, **environment}, tmp_path / "absent") == attributes


def test_the_namespace_of_a_service_account(tmp_path):
    file = tmp_path / "namespace"
    file.write_text("ml-team\n")
    assert kubernetes_attributes(KUBERNETES, file) == {"k8s.namespace.name": "ml-team"}
    named = {**KUBERNETES, "POD_NAMESPACE": "said"}
    assert kubernetes_attributes(named, file) == {"k8s.namespace.name": "said"}
    file.write_text("")
    assert kubernetes_attributes(KUBERNETES, file) == {}
