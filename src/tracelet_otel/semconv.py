"""Every name, unit and attribute that we emit, and nothing else.

Names without the prefix `tracelet.` are those of the OpenTelemetry semantic conventions; they are
spelled out here where the conventions package marks them as incubating.
"""

from __future__ import annotations

from typing import Final

# Instrumentation scopes. Logged metrics have one of their own, so that a metric which a user calls
# `hw.power` is never taken for a reading of the hardware.
SCOPE_LOGGED: Final = "tracelet_otel.logged"
SCOPE_RUN: Final = "tracelet_otel.run"

# Resource attributes
RUN_ID: Final = "tracelet.run.id"
RUN_NAME: Final = "tracelet.run.name"
PROJECT_NAME: Final = "tracelet.project.name"
SERVICE_NAME: Final = "service.name"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
RANK: Final = "tracelet.rank"
LOCAL_RANK: Final = "tracelet.local_rank"
NODE_RANK: Final = "tracelet.node_rank"
RANKS: Final = "tracelet.ranks"  # what becomes of their values: one of RANKS_*
HOST_NAME: Final = "host.name"
PROCESS_PID: Final = "process.pid"
PROCESS_COMMAND: Final = "process.command"
PROCESS_OWNER: Final = "process.owner"

RUN_ID_PATTERN: Final = r"^[A-Za-z0-9_.-]{1,64}$"
"""What a run's id looks like: it names files, and is part of addresses."""

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
# This and the world size only where several processes train together
TRAINING: Final = "tracelet.training"

# Values of `tracelet.ranks`
RANKS_MERGED: Final = "merged"
RANKS_EACH: Final = "each"

# Values of `tracelet.reduction`
REDUCTION_MEAN: Final = "mean"
REDUCTION_MIN: Final = "min"
REDUCTION_MAX: Final = "max"
REDUCTION_SUM: Final = "sum"
REDUCTION_NONE: Final = "none"  # synchronised, or meant to be rank 0's

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
HPARAM_UNIT: Final = "1"
HPARAM_NAME: Final = "tracelet.hparam.name"
HPARAM_VALUE: Final = "tracelet.hparam.value"  # its text
HPARAM_TYPE: Final = "tracelet.hparam.type"  # what it was: one of TYPE_*; absent for text and all else
RUN_OUTCOME: Final = "tracelet.run.outcome"
RUN_OUTCOME_UNIT: Final = "1"
OUTCOME: Final = "outcome"
RUN_ENDED: Final = "tracelet.run.ended"
RUN_ENDED_UNIT: Final = "1"
RANK_ENDED: Final = "tracelet.rank.ended"
RANK_ENDED_UNIT: Final = "1"
WORLD_SIZE: Final = "tracelet.world_size"  # also an attribute of a sample
WORLD_SIZE_UNIT: Final = "{process}"
GLOBAL_STEP: Final = "tracelet.trainer.global_step"
GLOBAL_STEP_UNIT: Final = "{step}"
TRAINER_EPOCH: Final = "tracelet.trainer.epoch"
TRAINER_EPOCH_UNIT: Final = "{epoch}"
QUEUE_SIZE: Final = "tracelet.recorder.queue.size"
QUEUE_SIZE_UNIT: Final = "{row}"

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
"""Those that end a run."""
