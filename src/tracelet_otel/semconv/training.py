"""What a training reports: its values, hyperparameters, tags, progress and outcome."""

from __future__ import annotations

from typing import Final

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
AXIS_ROW: Final = "row"  # rows that a Fabric has been handed before: the user gave no step
AXIS_NONE: Final = "none"  # nothing: the user gave no step, and it is 0

# Names of logged metrics that are not the user's own
GRAD_NORM: Final = "grad_norm"  # 2-norm of all gradients before clipping, as other trainers call it
HP_METRIC: Final = "hp_metric"  # what TensorBoard calls a single number that was logged with hyperparameters

# Names of hyperparameters that are not the user's own
TRAINER_PREFIX: Final = "lightning"  # of the trainer's own configuration, so that they never equal a user's
OPTIMIZER_PARAMS: Final = "lightning/optimizer_0/"  # of the first optimizer's settings

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
PRUNED: Final = "tracelet.pruned"  # name of the tag of a run that a search has pruned; its value says why
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
SAMPLES: Final = "tracelet.recorder.samples"
SAMPLES_UNIT: Final = "{sample}"
QUEUE_SIZE: Final = "tracelet.recorder.queue.size"
QUEUE_SIZE_UNIT: Final = "{row}"

# Values of `tracelet.hparam.type`
TYPE_BOOL: Final = "bool"
TYPE_INT: Final = "int"
TYPE_FLOAT: Final = "float"
TYPE_NONE: Final = "none"

# A script that is started again goes on with its run
RUN_RESTARTS: Final = "tracelet.run.restarts"  # of the run's script for its job
RUN_RESTARTS_UNIT: Final = "{restart}"
RUN_LOST_STEPS: Final = "tracelet.run.lost_steps"  # that are done again; absent where that is not known
RUN_LOST_STEPS_UNIT: Final = "{step}"
RUN_DOWNTIME: Final = "tracelet.run.downtime"  # between attempts; absent where that is not known
RUN_DOWNTIME_UNIT: Final = "s"
RESUMED_STEP: Final = "tracelet.trainer.resumed_step"  # at which the last fit began that resumed from a checkpoint
RESUMED_STEP_UNIT: Final = "{step}"
EVENT_TRAINING_RESUMED: Final = "tracelet.training.resumed"  # with STEP, EPOCH and the file's path

# Why a run failed. As attributes of an event; as tags, each with the prefix
EVENT_EXCEPTION: Final = "exception"

# Checkpoints: how many were written, and an event for each that was written or removed
CHECKPOINTS: Final = "tracelet.checkpoints"
CHECKPOINTS_UNIT: Final = "{checkpoint}"
EVENT_CHECKPOINT_SAVED: Final = "tracelet.checkpoint.saved"
EVENT_CHECKPOINT_REMOVED: Final = "tracelet.checkpoint.removed"
CHECKPOINT_STEP: Final = "tracelet.checkpoint.step"
CHECKPOINT_MONITOR: Final = "tracelet.checkpoint.monitor"  # name of the metric by which checkpoints are compared
CHECKPOINT_SCORE: Final = "tracelet.checkpoint.score"  # value of that metric
CHECKPOINT_MODE: Final = "tracelet.checkpoint.mode"  # min or max: which scores are better
CHECKPOINT_IS_BEST: Final = "tracelet.checkpoint.best"
CHECKPOINT_IS_LAST: Final = "tracelet.checkpoint.last"
CHECKPOINT_IS_TOP_K: Final = "tracelet.checkpoint.top_k"  # one of those with the best scores that are kept
FILE_PATH: Final = "file.path"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
FAILURE_PREFIX: Final = "tracelet."

LOG_IOSTREAM: Final = "log.iostream"  # of a line of the console: stdout or stderr

# Values of `outcome`
OUTCOME_RUNNING: Final = "running"
OUTCOME_FINISHED: Final = "finished"
OUTCOME_FAILED: Final = "failed"
OUTCOME_INTERRUPTED: Final = "interrupted"
OUTCOME_TERMINATED: Final = "terminated"
OUTCOMES: Final = (OUTCOME_FINISHED, OUTCOME_FAILED, OUTCOME_INTERRUPTED, OUTCOME_TERMINATED)
"""Outcomes that end a run."""
