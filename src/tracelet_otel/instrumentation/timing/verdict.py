"""What bounds the speed of a training, judged by its phases, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tracelet_otel import semconv
from tracelet_otel.instrumentation.timing.phases import TrainingPhase, owner_attributes

FEWEST_STEPS: Final = 20
"""With fewer steps there is no verdict: the first ones take longer, and noise decides."""
_FIRST_S: Final = 15.0
"""Seconds of a training before its first verdict."""
_COMPUTE: Final = (semconv.PHASE_FORWARD, semconv.PHASE_BACKWARD, semconv.PHASE_OPTIMIZER)
_COMPUTE_SHARE: Final = 0.8
"""Of the time; from here on a training is compute-bound, where nothing else bounds it."""


class _Bound(NamedTuple):
    """A phase that may bound a training."""

    verdict: str
    share: float
    """Of the time; from here on it does."""
    finding: str
    advice: str


_BOUNDS: Final[Mapping[str, _Bound]] = {
    semconv.PHASE_DATA: _Bound(
        semconv.VERDICT_INPUT,
        0.2,
        "the training waits for data",
        "Give the DataLoader more workers (num_workers) and keep them (persistent_workers=True), let them fetch ahead "
        "(prefetch_factor), or do less for each sample.",
    ),
    semconv.PHASE_TRANSFER: _Bound(
        semconv.VERDICT_TRANSFER,
        0.1,
        "batches are moved to the device",
        "Use pin_memory=True in the DataLoader, move less, or move it in a smaller type.",
    ),
    semconv.PHASE_CHECKPOINT: _Bound(
        semconv.VERDICT_CHECKPOINT,
        0.1,
        "the training waits for checkpoints to be written",
        "Save less often (every_n_train_steps, every_n_epochs), to a faster disk, or with AsyncCheckpointIO.",
    ),
    semconv.PHASE_VALIDATION: _Bound(
        semconv.VERDICT_VALIDATION,
        0.3,
        "the training stands still for validations",
        "Validate less often (val_check_interval, check_val_every_n_epoch) or on less (limit_val_batches).",
    ),
    semconv.PHASE_CALLBACK: _Bound(
        semconv.VERDICT_CALLBACK, 0.1, "hooks of {owner} run", "Do less in {owner}, or do it at fewer steps."
    ),
    semconv.PHASE_LOGGING: _Bound(
        semconv.VERDICT_LOGGING,
        0.1,
        "rows are handed to {owner}",
        "Raise log_every_n_steps, or leave out {owner}: what is logged is recorded without it.",
    ),
    semconv.PHASE_LIGHTNING: _Bound(
        semconv.VERDICT_LIGHTNING,
        0.3,
        "Lightning's own loop runs",
        "Steps are very short: take larger batches, so that there are fewer steps.",
    ),
}


@dataclass(frozen=True)
class FitTime:
    """What the trainings of a process have spent their time on."""

    seconds: Mapping[TrainingPhase, float] = field(default_factory=dict)
    """By phase; with `setup`, all of them sum to the time of the trainings."""
    steps: int = 0
    samples: int | None = None
    """In the batches; None where that is not known."""
    device_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds a step that a device works, by phase; empty without one."""

    @property
    def total_s(self) -> float:
        """Seconds without those before the first step."""
        return sum(seconds for phase, seconds in self.seconds.items() if phase.name != semconv.PHASE_SETUP)

    def since(self, earlier: FitTime) -> FitTime:
        """What has come since an earlier state of the same trainings."""
        seconds = {phase: seconds - earlier.seconds.get(phase, 0) for phase, seconds in self.seconds.items()}
        samples = None if self.samples is None else self.samples - (earlier.samples or 0)
        return FitTime(seconds, self.steps - earlier.steps, samples, self.device_s)


@dataclass(frozen=True)
class TrainingVerdict:
    """What bounds a training."""

    name: str
    """One of `semconv.VERDICT_*`."""
    share: float
    """Of the time that goes to it, from 0 to 1. Of a balanced training, the share of its model."""
    text: str
    """What was found and what to do, in a sentence or two."""
    owner: str = ""
    """Class of the callback or logger; empty where the name says all."""

    @property
    def attributes(self) -> dict[str, str]:
        """Attributes of a point or an event that is about the verdict."""
        return {semconv.VERDICT: self.name, **owner_attributes(self.owner)}


class Judge:
    """Judges a training again and again while it goes on: each time what has come since.

    Args:
        every_s: seconds between two verdicts.
    """

    def __init__(self, every_s: float) -> None:
        self.verdict: TrainingVerdict | None = None
        """The latest one."""
        self._every_s = every_s
        self._judged = FitTime()
        self._judged_s: float | None = None

    def is_due(self, now_s: float) -> bool:
        """Whether `look` has something to do, so that nothing is summed for it where it has not.

        Args:
            now_s: the time, on any clock, in seconds.
        """
        every_s = self._every_s if self.verdict else min(self._every_s, _FIRST_S)
        return self._judged_s is None or now_s - self._judged_s >= every_s

    def look(self, now_s: float, fit: FitTime) -> None:
        """Judge what has come since the last verdict, if it is time for that.

        Args:
            now_s: the time, on any clock, in seconds.
            fit: what the trainings have spent their time on so far.
        """
        if self._judged_s is None:
            self._judged_s = now_s
        elif self.is_due(now_s):
            verdict = judged(fit.since(self._judged))
            # Where steps are long, it takes more time until there are enough of them.
            if verdict is not None:
                self.verdict, self._judged, self._judged_s = verdict, fit, now_s

    def conclude(self, fit: FitTime) -> None:
        """Judge the whole of the trainings, at their end."""
        self.verdict = judged(fit) or self.verdict


def judged(fit: FitTime) -> TrainingVerdict | None:
    """Judge what bounds a training.

    Args:
        fit: what it has spent its time on.

    Returns:
        The verdict; None where the training has made fewer than `FEWEST_STEPS` steps.
    """
    total_s = fit.total_s
    if fit.steps < FEWEST_STEPS or total_s <= 0:
        return None
    bounding = {
        phase: seconds / total_s
        for phase, seconds in fit.seconds.items()
        if phase.name in _BOUNDS and seconds >= _BOUNDS[phase.name].share * total_s
    }
    if bounding:
        phase, share = max(bounding.items(), key=lambda item: item[1])
        bound, owner = _BOUNDS[phase.name], phase.owner or "the loggers"
        text = f"{share:.0%} of the time {bound.finding}. {bound.advice}".replace("{owner}", owner)
        return TrainingVerdict(bound.verdict, share, text, phase.owner)
    compute = sum(seconds for phase, seconds in fit.seconds.items() if phase.name in _COMPUTE) / total_s
    if compute >= _COMPUTE_SHARE:
        text = (
            f"{compute:.0%} of the time the model trains. What is left to gain is in the model: a lower precision, "
            f"torch.compile, larger batches, more devices."
        )
        return TrainingVerdict(semconv.VERDICT_COMPUTE, compute, text)
    text = f"{compute:.0%} of the time the model trains, and nothing else takes much of it."
    return TrainingVerdict(semconv.VERDICT_BALANCED, compute, text)
