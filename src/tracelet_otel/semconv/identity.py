"""Instrumentation scopes, and attributes of a resource: which run a process belongs to, and what runs where."""

from __future__ import annotations

from typing import Final

# Instrumentation scopes. Logged metrics have one of their own, so that a metric which a user calls
# `hw.power` is never taken for a reading of the hardware.
SCOPE_LOGGED: Final = "tracelet_otel.logged"
SCOPE_RUN: Final = "tracelet_otel.run"
SCOPE_GPU: Final = "tracelet_otel.gpu"
SCOPE_HOST: Final = "tracelet_otel.host"
SCOPE_RELAY: Final = "tracelet_otel.relay"
SCOPE_SYSTEM: Final = "tracelet_otel.system"  # GPU and host as samples, with the names and units of trackers

# Resource attributes
RUN_ID: Final = "tracelet.run.id"
RUN_NAME: Final = "tracelet.run.name"
PROJECT_NAME: Final = "tracelet.project.name"
RUN_GROUP: Final = "tracelet.run.group"  # of runs that belong together
RUN_JOB_TYPE: Final = "tracelet.run.job_type"  # what a run does in its group, as in `train` or `eval`
PARENT_RUN_ID: Final = "tracelet.parent.run.id"  # of the run whose process has started this one's
PARENT_RUN_NAME: Final = "tracelet.parent.run.name"  # added by the relay, where it has that run
RUN_ATTEMPT: Final = "tracelet.run.attempt"  # number of the start of this run's script for its job, from 1
RUN_START_TIME: Final = "tracelet.run.start_time"  # ISO 8601; only for trackers, on no time series
SERVICE_NAME: Final = "service.name"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
RANK: Final = "tracelet.rank"
LOCAL_RANK: Final = "tracelet.local_rank"
NODE_RANK: Final = "tracelet.node_rank"
PLACE_ATTRIBUTES: Final = (RANK, LOCAL_RANK, NODE_RANK)
RANKS: Final = "tracelet.ranks"  # whether the values of ranks are merged: one of RANKS_*
HOST_NAME: Final = "host.name"
PROCESS_PID: Final = "process.pid"
PROCESS_COMMAND: Final = "process.command"
PROCESS_COMMAND_ARGS: Final = "process.command_args"  # the script and its arguments, without secrets
PROCESS_COMMAND_LINE: Final = "process.command_line"  # the same as one text
PROCESS_EXECUTABLE_PATH: Final = "process.executable.path"
PROCESS_WORKING_DIRECTORY: Final = "process.working_directory"
PROCESS_OWNER: Final = "process.owner"
PROCESS_RUNTIME_NAME: Final = "process.runtime.name"
PROCESS_RUNTIME_VERSION: Final = "process.runtime.version"
HOST_ARCH: Final = "host.arch"
HOST_CPU_MODEL: Final = "host.cpu.model.name"
HOST_CPU_COUNT: Final = "tracelet.host.cpu.count"  # of cores
HOST_CPU_LOGICAL_COUNT: Final = "tracelet.host.cpu.logical_count"  # of threads that run at once
HOST_MEMORY_SIZE: Final = "tracelet.host.memory.size"  # in bytes
OS_TYPE: Final = "os.type"
OS_VERSION: Final = "os.version"
TORCH_VERSION: Final = "tracelet.torch.version"
LIGHTNING_VERSION: Final = "tracelet.lightning.version"
CUDA_VERSION: Final = "tracelet.cuda.version"  # that torch was built for
DRIVER_VERSION: Final = "tracelet.gpu.driver_version"
GPU_MODELS: Final = "tracelet.gpu.models"  # of each GPU of the machine, as its driver lists them
VCS_REPOSITORY_URL: Final = "vcs.repository.url.full"
VCS_REVISION: Final = "vcs.ref.head.revision"
VCS_REF_NAME: Final = "vcs.ref.head.name"
VCS_REF_TYPE: Final = "vcs.ref.head.type"  # REF_TYPE_BRANCH, or absent
VCS_DIRTY: Final = "tracelet.vcs.dirty"  # whether tracked files differ from the revision
COMMAND_ATTRIBUTES: Final = (PROCESS_COMMAND_ARGS, PROCESS_COMMAND_LINE)
VCS_ATTRIBUTES: Final = (VCS_REPOSITORY_URL, VCS_REVISION, VCS_REF_NAME, VCS_REF_TYPE, VCS_DIRTY)
SLURM_JOB_ID: Final = "tracelet.slurm.job.id"
SLURM_JOB_NAME: Final = "tracelet.slurm.job.name"
SLURM_JOB_PARTITION: Final = "tracelet.slurm.job.partition"
SLURM_JOB_NUM_NODES: Final = "tracelet.slurm.job.num_nodes"
SLURM_ARRAY_JOB_ID: Final = "tracelet.slurm.array.job.id"
SLURM_ARRAY_TASK_ID: Final = "tracelet.slurm.array.task.id"
SLURM_STEP_ID: Final = "tracelet.slurm.step.id"
SLURM_CLUSTER_NAME: Final = "tracelet.slurm.cluster.name"
SLURM_NODE_NAME: Final = "tracelet.slurm.node.name"
SLURM_RESTART_COUNT: Final = "tracelet.slurm.restart.count"
TORCHRUN_RUN_ID: Final = "tracelet.torchrun.run.id"
TORCHRUN_RESTART_COUNT: Final = "tracelet.torchrun.restart.count"
K8S_POD_NAME: Final = "k8s.pod.name"
K8S_POD_UID: Final = "k8s.pod.uid"
K8S_NAMESPACE_NAME: Final = "k8s.namespace.name"
K8S_NODE_NAME: Final = "k8s.node.name"
K8S_CONTAINER_NAME: Final = "k8s.container.name"
K8S_JOB_NAME: Final = "k8s.job.name"
K8S_JOB_UID: Final = "k8s.job.uid"
K8S_JOB_COMPLETION_INDEX: Final = "tracelet.k8s.job.completion_index"

RUN_ID_PATTERN: Final = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$"
"""Form of a run's id, which is part of file names and URLs: no `.` or `..`, and no hidden file."""

# A value of `vcs.ref.head.type`
REF_TYPE_BRANCH: Final = "branch"

# Job type of a run that has a parent, in trackers that know job types
JOB_TYPE_WORKER: Final = "worker"

# Values of `tracelet.ranks`
RANKS_MERGED: Final = "merged"
RANKS_EACH: Final = "each"
