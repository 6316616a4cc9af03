"""Where the time of a training goes: phases, steps, and what bounds it."""

from __future__ import annotations

from typing import Final

# Metrics
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
VERDICT_SHARE: Final = "tracelet.verdict.share"  # of the event: as the value of the metric
EVENT_VERDICT: Final = "tracelet.verdict"  # name of the event that a verdict is, too

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
