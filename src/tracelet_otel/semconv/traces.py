"""Names and attributes of spans."""

from __future__ import annotations

from typing import Final

# Spans: the call of a trainer has the name of its function
SCOPE_TRAINING: Final = "tracelet_otel.training"  # the instrumentation scope of spans
SPAN_SETUP: Final = "setup"  # from the call's beginning to the first epoch, or the loop of an evaluation
SPAN_EPOCH: Final = "epoch"
SPAN_VALIDATION: Final = "validation"  # within a training
SPAN_CHECKPOINT: Final = "checkpoint.save"
SPAN_STEP: Final = "step"  # one that took far longer than most, with its phases in it
SPAN_PROGRESS: Final = "progress"  # a part of a span that goes on for long
SPANS: Final = "tracelet.spans"
SPANS_UNIT: Final = "{span}"

# Attributes of a span, besides `tracelet.epoch` and `error.type`
STEP_BEGIN: Final = "tracelet.step.begin"  # the trainer's step at the span's beginning
STEP_END: Final = "tracelet.step.end"
STEP_NUMBER: Final = "tracelet.step.number"  # of a slow step: how many the process has made, with this one
STEP_MEDIAN: Final = "tracelet.step.median"  # of a slow step: seconds that the steps before it took
SANITY_CHECK: Final = "tracelet.sanity_check"  # true for a validation that only tries whether one works
FILE_NAME: Final = "file.name"
FILE_SIZE: Final = "file.size"  # in bytes
