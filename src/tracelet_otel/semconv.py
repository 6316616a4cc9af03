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
HOST_NAME: Final = "host.name"
PROCESS_PID: Final = "process.pid"
PROCESS_COMMAND: Final = "process.command"
PROCESS_OWNER: Final = "process.owner"

RUN_ID_PATTERN: Final = r"^[A-Za-z0-9_.-]{1,64}$"
"""What a run's id looks like: it names files, and is part of addresses."""

# Attributes of a logged metric's point
METRIC_NAME: Final = "tracelet.metric.name"
STAGE: Final = "tracelet.stage"
NONFINITE_KIND: Final = "tracelet.nonfinite.kind"

# Filtered attributes of a sample (an exemplar)
STEP: Final = "tracelet.step"
EPOCH: Final = "tracelet.epoch"
AXIS: Final = "tracelet.axis"
SEQUENCE: Final = "tracelet.sequence"

# Values of `tracelet.axis`: what a sample's step counts
AXIS_TRAINER: Final = "trainer/global_step"  # Lightning's `_batches_that_stepped`
AXIS_EVAL_BATCH: Final = "eval_batch"  # batches seen by one evaluation dataloader
AXIS_LOGGED: Final = "step"  # a metric that the user logged under the name `step`
AXIS_USER: Final = "user"  # the step that the user gave to `Run.log_metric`

# Instruments
METRIC_NONFINITE: Final = "tracelet.metric.nonfinite"
METRIC_NONFINITE_UNIT: Final = "{value}"
HPARAM: Final = "tracelet.hparam"
HPARAM_UNIT: Final = "1"
HPARAM_NAME: Final = "tracelet.hparam.name"
HPARAM_VALUE: Final = "tracelet.hparam.value"
RUN_OUTCOME: Final = "tracelet.run.outcome"
RUN_OUTCOME_UNIT: Final = "1"
OUTCOME: Final = "outcome"
RUN_ENDED: Final = "tracelet.run.ended"
RUN_ENDED_UNIT: Final = "1"
QUEUE_SIZE: Final = "tracelet.recorder.queue.size"
QUEUE_SIZE_UNIT: Final = "{row}"

# Values of `outcome`
OUTCOME_RUNNING: Final = "running"
OUTCOME_FINISHED: Final = "finished"
OUTCOME_FAILED: Final = "failed"
OUTCOME_INTERRUPTED: Final = "interrupted"
OUTCOME_TERMINATED: Final = "terminated"
OUTCOMES: Final = (OUTCOME_FINISHED, OUTCOME_FAILED, OUTCOME_INTERRUPTED, OUTCOME_TERMINATED)
"""Those that end a run."""
