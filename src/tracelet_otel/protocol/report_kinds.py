"""What a process reports of its run by name, and how each kind of that is in the stream: hyperparameters and tags."""

from __future__ import annotations

from typing import Final, NamedTuple

from tracelet_otel import semconv

MAX_VALUE_LENGTH: Final = 8000
"""Characters of a value. A longer one is cut, because each value is exported again at every collection."""


class ReportKind(NamedTuple):
    """One kind of named value. Each has an observable gauge, with one point for each value."""

    instrument: str
    """Name of the gauge."""
    name: str
    """Attribute of a point that has the name of the value."""
    value: str
    """Attribute that has the value, as text."""
    revision: str
    """Attribute that has the number of the value among those of its name, from 1; absent for the first."""
    word: str
    """What people call one of this kind."""
    keeps_all: bool
    """Whether trackers get each value of a name, in order. If not, the last one stands for those before it."""
    key: str
    """Key under which a journal keeps what was reported."""


HPARAMS: Final = ReportKind(
    semconv.HPARAM,
    semconv.HPARAM_NAME,
    semconv.HPARAM_VALUE,
    semconv.HPARAM_REVISION,
    word="hyperparameter",
    keeps_all=True,
    key="hparams",
)
TAGS: Final = ReportKind(
    semconv.RUN_TAG,
    semconv.TAG_NAME,
    semconv.TAG_VALUE,
    semconv.TAG_REVISION,
    word="tag",
    keeps_all=False,
    key="tags",
)
REPORT_KINDS: Final = (HPARAMS, TAGS)
