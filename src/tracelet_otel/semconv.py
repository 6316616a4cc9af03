"""Every name, unit and attribute that this package emits, and nothing else.

Names without the prefix `tracelet.` are those of the OpenTelemetry semantic conventions; they are
spelled out here where the conventions package marks them as incubating.
"""

from __future__ import annotations

from typing import Final

# Instrumentation scopes. Logged metrics have one of their own, so that a metric which a user calls
# `hw.power` is never taken for a reading of the hardware.
SCOPE_LOGGED: Final = "tracelet_otel.logged"
SCOPE_RUN: Final = "tracelet_otel.run"
SCOPE_GPU: Final = "tracelet_otel.gpu"
SCOPE_RELAY: Final = "tracelet_otel.relay"
SCOPE_SYSTEM: Final = "tracelet_otel.system"  # GPU and host as samples, with the names and units of trackers

# Resource attributes
RUN_ID: Final = "tracelet.run.id"
RUN_NAME: Final = "tracelet.run.name"
PROJECT_NAME: Final = "tracelet.project.name"
RUN_GROUP: Final = "tracelet.run.group"  # of runs that belong together
RUN_JOB_TYPE: Final = "tracelet.run.job_type"  # what a run does in its group, as in `train` or `eval`
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
PROCESS_OWNER: Final = "process.owner"
PROCESS_RUNTIME_NAME: Final = "process.runtime.name"
PROCESS_RUNTIME_VERSION: Final = "process.runtime.version"
HOST_ARCH: Final = "host.arch"
OS_TYPE: Final = "os.type"
OS_VERSION: Final = "os.version"
TORCH_VERSION: Final = "tracelet.torch.version"
LIGHTNING_VERSION: Final = "tracelet.lightning.version"
CUDA_VERSION: Final = "tracelet.cuda.version"  # that torch was built for
DRIVER_VERSION: Final = "tracelet.gpu.driver_version"
VCS_REPOSITORY_URL: Final = "vcs.repository.url.full"
VCS_REVISION: Final = "vcs.ref.head.revision"
VCS_REF_NAME: Final = "vcs.ref.head.name"
VCS_REF_TYPE: Final = "vcs.ref.head.type"  # REF_TYPE_BRANCH, or absent
VCS_DIRTY: Final = "tracelet.vcs.dirty"  # whether tracked files differ from the revision
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

RUN_ID_PATTERN: Final = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$"
"""Form of a run's id, which is part of file names and URLs: no `.` or `..`, and no hidden file."""

# Attributes of a logged metric's point
METRIC_NAME: Final = "tracelet.metric.name"
STAGE: Final = "tracelet.stage"
REDUCTION: Final = "tracelet.reduction"  # how the values of ranks combine: one of REDUCTION_*
NONFINITE_KIND: Final = "tracelet.nonfinite.kind"

# Filtered attributes of a sample (an exemplar)
STEP: Final = "tracelet.step"
EPOCH: Final = "tracelet.epoch"
AXIS: Final = "tracelet.axis"
SEQUENCE: Final = "tracelet.sequence"
# This and WORLD_SIZE only where several processes train together
TRAINING: Final = "tracelet.training"

# A value of `vcs.ref.head.type`
REF_TYPE_BRANCH: Final = "branch"

# Values of `tracelet.ranks`
RANKS_MERGED: Final = "merged"
RANKS_EACH: Final = "each"

# Values of `tracelet.reduction`
REDUCTION_MEAN: Final = "mean"
REDUCTION_MIN: Final = "min"
REDUCTION_MAX: Final = "max"
REDUCTION_SUM: Final = "sum"
REDUCTION_NONE: Final = "none"  # already synchronised by Lightning, or logged for rank 0 only

# Values of `tracelet.axis`: what a sample's step counts
AXIS_TRAINER: Final = "trainer/global_step"  # Lightning's `_batches_that_stepped`
AXIS_EVAL_BATCH: Final = "eval_batch"  # batches seen by one evaluation dataloader
AXIS_LOGGED: Final = "step"  # a metric that the user logged under the name `step`
AXIS_USER: Final = "user"  # the step that the user gave, as to `Run.log_metric`
AXIS_NONE: Final = "none"  # nothing: the user gave no step, and it is 0

# Instruments
METRIC_NONFINITE: Final = "tracelet.metric.nonfinite"
METRIC_NONFINITE_UNIT: Final = "{value}"
HPARAM: Final = "tracelet.hparam"
REPORT_UNIT: Final = "1"  # of hyperparameters and tags
HPARAM_NAME: Final = "tracelet.hparam.name"
HPARAM_VALUE: Final = "tracelet.hparam.value"  # the value as text
HPARAM_REVISION: Final = "tracelet.hparam.revision"  # number of the report of this name; absent for the first
HPARAM_TYPE: Final = "tracelet.hparam.type"  # original type: one of TYPE_*; absent for text and all other types
RUN_TAG: Final = "tracelet.run.tag"
TAG_NAME: Final = "tracelet.tag.name"
TAG_VALUE: Final = "tracelet.tag.value"
TAG_REVISION: Final = "tracelet.tag.revision"  # as `tracelet.hparam.revision`
NOTE: Final = "tracelet.note"  # name of the tag that is the run's description; no name of users begins with `tracelet.`
RUN_OUTCOME: Final = "tracelet.run.outcome"
RUN_OUTCOME_UNIT: Final = "1"
OUTCOME: Final = "outcome"
RUN_ENDED: Final = "tracelet.run.ended"
RUN_ENDED_UNIT: Final = "1"
RUN_END_TIME: Final = "tracelet.run.end_time"  # since the Unix epoch; absent while the run goes on
RUN_END_TIME_UNIT: Final = "s"
RANK_ENDED: Final = "tracelet.rank.ended"
RANK_ENDED_UNIT: Final = "1"
WORLD_SIZE: Final = "tracelet.world_size"  # also an attribute of a sample
WORLD_SIZE_UNIT: Final = "{process}"
GLOBAL_STEP: Final = "tracelet.trainer.global_step"
GLOBAL_STEP_UNIT: Final = "{step}"
TRAINER_EPOCH: Final = "tracelet.trainer.epoch"
TRAINER_EPOCH_UNIT: Final = "{epoch}"
TRAINER_PROGRESS: Final = "tracelet.trainer.progress"  # from 0 to 1; absent where the trainer has no limit
TRAINER_PROGRESS_UNIT: Final = "1"
TRAINER_TIME_REMAINING: Final = "tracelet.trainer.time_remaining"  # as estimated from the progress so far
TRAINER_TIME_REMAINING_UNIT: Final = "s"
TRAINER_STEPS: Final = "tracelet.trainer.steps"  # batches that were trained with
TRAINER_STEPS_UNIT: Final = "{step}"
TRAINER_SAMPLES: Final = "tracelet.trainer.samples"  # in these batches
TRAINER_SAMPLES_UNIT: Final = "{sample}"
STEP_DURATION: Final = "tracelet.step.duration"  # of one batch, without validations and checkpoints in between
STEP_DURATION_UNIT: Final = "s"
SAMPLES: Final = "tracelet.recorder.samples"
SAMPLES_UNIT: Final = "{sample}"
QUEUE_SIZE: Final = "tracelet.recorder.queue.size"
QUEUE_SIZE_UNIT: Final = "{row}"
PHASE_TIME: Final = "tracelet.phase.time"  # of the thread that trains; all phases sum to the time of trainers' calls
PHASE_TIME_UNIT: Final = "s"
PHASE_DEVICE_TIME: Final = "tracelet.phase.device_time"  # of the device, in the steps of PHASE_DEVICE_STEPS only
PHASE_DEVICE_TIME_UNIT: Final = "s"
PHASE_DEVICE_STEPS: Final = "tracelet.phase.device_steps"  # steps in which the device's time was measured
PHASE_DEVICE_STEPS_UNIT: Final = "{step}"
PHASE: Final = "tracelet.phase"  # one of PHASE_*
PHASE_OWNER: Final = "tracelet.phase.owner"  # class of the callback, module or logger; only for phases of these

# Values of `tracelet.phase`
PHASE_SETUP: Final = "setup"  # hooks that prepare data, model and optimizers
PHASE_DATA: Final = "data_wait"
PHASE_TRANSFER: Final = "transfer"
PHASE_FORWARD: Final = "forward"
PHASE_BACKWARD: Final = "backward"
PHASE_OPTIMIZER: Final = "optimizer"
PHASE_CALLBACK: Final = "callback"  # and hooks of the user's module, under its class
PHASE_LOGGING: Final = "logging"
PHASE_CHECKPOINT: Final = "checkpoint"  # as long as it blocks the training
PHASE_VALIDATION: Final = "validation"  # within a training, without callbacks, logging and checkpoints in it
PHASE_LIGHTNING: Final = "lightning"  # Lightning's own bookkeeping
PHASES: Final = (
    PHASE_DATA, PHASE_TRANSFER, PHASE_FORWARD, PHASE_BACKWARD, PHASE_OPTIMIZER, PHASE_CALLBACK, PHASE_LOGGING,
    PHASE_CHECKPOINT, PHASE_VALIDATION, PHASE_SETUP, PHASE_LIGHTNING,
)  # fmt: skip

# What bounds a training
RUN_VERDICT: Final = "tracelet.run.verdict"  # share of the time that goes to what bounds it
RUN_VERDICT_UNIT: Final = "1"
VERDICT: Final = "tracelet.verdict"  # one of VERDICT_*

# Values of `tracelet.verdict`
VERDICT_INPUT: Final = "input-bound"
VERDICT_TRANSFER: Final = "transfer-bound"
VERDICT_CHECKPOINT: Final = "checkpoint-bound"
VERDICT_VALIDATION: Final = "validation-bound"
VERDICT_CALLBACK: Final = "callback-bound"
VERDICT_LOGGING: Final = "logging-bound"
VERDICT_LIGHTNING: Final = "lightning-bound"
VERDICT_COMPUTE: Final = "compute-bound"
VERDICT_BALANCED: Final = "balanced"

# Metrics with which a training's rows say where its time goes
TIME_PREFIX: Final = "time/"  # before a phase: seconds a step
TIME_SAMPLES_PER_SECOND: Final = "time/samples_per_second"

# A relay itself
RELAY_SERVICE: Final = "tracelet-otel-relay"  # value of `service.name`
RELAY_REQUESTS: Final = "tracelet.relay.requests"
RELAY_REQUESTS_UNIT: Final = "{request}"
RELAY_READINGS: Final = "tracelet.relay.readings"
RELAY_READINGS_UNIT: Final = "{reading}"
RELAY_WAITING: Final = "tracelet.relay.merge.waiting"
RELAY_LATE: Final = "tracelet.relay.merge.late"
RELAY_INCOMPLETE: Final = "tracelet.relay.merge.incomplete"
RELAY_VALUES_UNIT: Final = "{value}"
RELAY_JOURNAL_SIZE: Final = "tracelet.relay.journal.size"
RELAY_UNDELIVERED_AGE: Final = "tracelet.relay.undelivered.age"
RELAY_LAG: Final = "tracelet.relay.delivery.lag"
RELAY_PENDING: Final = "tracelet.relay.delivery.pending"
RELAY_DROPPED: Final = "tracelet.relay.delivery.dropped"
PROCESS_MEMORY_USAGE: Final = "process.memory.usage"
SECONDS_UNIT: Final = "s"
HTTP_STATUS_CODE: Final = "http.response.status_code"
TRACKER: Final = "tracelet.tracker"  # name of the tracker to which is delivered

# GPU: names and units of the hardware conventions; names of our own begin with `tracelet.gpu.`
GPU_UTILIZATION: Final = "hw.gpu.utilization"
GPU_MEMORY_USAGE: Final = "hw.gpu.memory.usage"
GPU_MEMORY_LIMIT: Final = "hw.gpu.memory.limit"
GPU_MEMORY_UTILIZATION: Final = "hw.gpu.memory.utilization"
HW_POWER: Final = "hw.power"
HW_ENERGY: Final = "hw.energy"
HW_TEMPERATURE: Final = "hw.temperature"
HW_FAN_SPEED_RATIO: Final = "hw.fan.speed_ratio"
HW_ERRORS: Final = "hw.errors"
HW_STATUS: Final = "hw.status"
GPU_CLOCK_FREQUENCY: Final = "tracelet.gpu.clock.frequency"
GPU_THROTTLE: Final = "tracelet.gpu.throttle"
GPU_PCIE_THROUGHPUT: Final = "tracelet.gpu.pcie.throughput"
GPU_PROCESS_MEMORY_USAGE: Final = "tracelet.gpu.process.memory.usage"
RATIO_UNIT: Final = "1"
BYTES_UNIT: Final = "By"
BYTES_PER_SECOND_UNIT: Final = "By/s"
WATTS_UNIT: Final = "W"
JOULES_UNIT: Final = "J"
CELSIUS_UNIT: Final = "Cel"
ERRORS_UNIT: Final = "{error}"
HERTZ_UNIT: Final = "Hz"

# Attributes of a GPU's points
HW_ID: Final = "hw.id"
HW_NAME: Final = "hw.name"
HW_TYPE: Final = "hw.type"
HW_MODEL: Final = "hw.model"
HW_VENDOR: Final = "hw.vendor"
HW_DRIVER_VERSION: Final = "hw.driver_version"
HW_STATE: Final = "hw.state"
HW_GPU_TASK: Final = "hw.gpu.task"
ERROR_TYPE: Final = "error.type"
GPU_INDEX: Final = "tracelet.gpu.index"  # as `nvidia-smi` counts
GPU_CLOCK: Final = "tracelet.gpu.clock"
GPU_THROTTLE_REASON: Final = "tracelet.gpu.throttle.reason"
NETWORK_IO_DIRECTION: Final = "network.io.direction"

# Values of these attributes
HW_TYPE_GPU: Final = "gpu"
HW_VENDOR_NVIDIA: Final = "NVIDIA"
TASK_GENERAL: Final = "general"
TASK_ENCODER: Final = "encoder"
TASK_DECODER: Final = "decoder"
ERRORS_CORRECTED: Final = "corrected"
ERRORS_UNCORRECTED: Final = "uncorrected"
STATE_OK: Final = "ok"
STATE_DEGRADED: Final = "degraded"
STATE_FAILED: Final = "failed"
CLOCK_SM: Final = "sm"
CLOCK_MEMORY: Final = "memory"
DIRECTION_RECEIVE: Final = "receive"
DIRECTION_TRANSMIT: Final = "transmit"

# Values of `tracelet.gpu.throttle.reason`: why clocks are lower than they could be, as `nvidia-smi` names it
THROTTLE_IDLE: Final = "gpu_idle"
THROTTLE_APPLICATIONS_CLOCKS: Final = "applications_clocks_setting"
THROTTLE_SW_POWER_CAP: Final = "sw_power_cap"
THROTTLE_HW_SLOWDOWN: Final = "hw_slowdown"
THROTTLE_SYNC_BOOST: Final = "sync_boost"
THROTTLE_SW_THERMAL: Final = "sw_thermal_slowdown"
THROTTLE_HW_THERMAL: Final = "hw_thermal_slowdown"
THROTTLE_HW_POWER_BRAKE: Final = "hw_power_brake_slowdown"
THROTTLE_DISPLAY_CLOCK: Final = "display_clock_setting"

# GPU and host with the names and units of trackers
SYSTEM_READING: Final = "tracelet.system.reading"
SYSTEM_PREFIX: Final = "system/"

# Values of `tracelet.hparam.type`
TYPE_BOOL: Final = "bool"
TYPE_INT: Final = "int"
TYPE_FLOAT: Final = "float"
TYPE_NONE: Final = "none"

# Values of `outcome`
OUTCOME_RUNNING: Final = "running"
OUTCOME_FINISHED: Final = "finished"
OUTCOME_FAILED: Final = "failed"
OUTCOME_INTERRUPTED: Final = "interrupted"
OUTCOME_TERMINATED: Final = "terminated"
OUTCOMES: Final = (OUTCOME_FINISHED, OUTCOME_FAILED, OUTCOME_INTERRUPTED, OUTCOME_TERMINATED)
"""Outcomes that end a run."""
