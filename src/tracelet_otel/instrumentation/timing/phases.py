"""Which phase of a training an action of Lightning's profiler belongs to. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from tracelet_otel import semconv


class TrainingPhase(NamedTuple):
    """A phase of a training, and whose it is."""

    name: str
    """One of `semconv.PHASE_*`."""
    owner: str = ""
    """Class of the callback, module or logger that takes the time; empty where the name says all."""

    @property
    def attributes(self) -> dict[str, str]:
        """Attributes of a point or a span that is about the phase."""
        return {semconv.PHASE: self.name, **owner_attributes(self.owner)}


def owner_attributes(owner: str) -> dict[str, str]:
    """The attribute with the class that takes the time; none where there is no such class."""
    return {semconv.PHASE_OWNER: owner} if owner else {}


LIGHTNING: Final = TrainingPhase(semconv.PHASE_LIGHTNING)
"""What Lightning itself does between the actions that it names."""
_VALIDATION: Final = TrainingPhase(semconv.PHASE_VALIDATION)
_CHECKPOINT: Final = TrainingPhase(semconv.PHASE_CHECKPOINT)
_BY_ACTION: Final = {"save_checkpoint": _CHECKPOINT, "[_EvaluationLoop].run": _VALIDATION}
_BY_HOOK: Final = {
    **dict.fromkeys(
        ("configure_gradient_clipping", "lr_scheduler_step", "optimizer_step", "optimizer_zero_grad"),
        TrainingPhase(semconv.PHASE_OPTIMIZER),
    ),
    **dict.fromkeys(
        ("batch_to_device", "on_after_batch_transfer", "on_before_batch_transfer", "transfer_batch_to_device"),
        TrainingPhase(semconv.PHASE_TRANSFER),
    ),
    **dict.fromkeys(
        ("predict_step", "test_step", "training_step", "validation_step"), TrainingPhase(semconv.PHASE_FORWARD)
    ),
    "backward": TrainingPhase(semconv.PHASE_BACKWARD),
    **dict.fromkeys(
        (
            "configure_callbacks",
            "configure_model",
            "configure_optimizers",
            "configure_sharded_model",
            "predict_dataloader",
            "prepare_data",
            "setup",
            "teardown",
            "test_dataloader",
            "train_dataloader",
            "val_dataloader",
        ),
        TrainingPhase(semconv.PHASE_SETUP),
    ),
}
_USERS: Final = ("[LightningModule", "[LightningDataModule")
_OF_VALIDATION: Final = (
    semconv.PHASE_DATA, semconv.PHASE_FORWARD, semconv.PHASE_LIGHTNING, semconv.PHASE_TRANSFER
)  # fmt: skip


def phase_of(action: str) -> TrainingPhase:
    """The phase of an action by itself, wherever it occurs.

    Args:
        action: its name, as in `[Callback]EarlyStopping{'monitor': 'loss'}.on_train_end`.
    """
    kind, _, rest = action.partition("]")
    if kind == "[Callback":
        # A callback's key may hold its arguments, and these may hold any character.
        qualified_name = rest.partition("{")[0] if "{" in rest else rest.rpartition(".")[0]
        return TrainingPhase(semconv.PHASE_CALLBACK, qualified_name.rpartition(".")[2])
    if kind == "[Logger":
        return TrainingPhase(semconv.PHASE_LOGGING, rest)
    owner, _, hook = rest.rpartition(".")
    if hook in _BY_HOOK:
        return _BY_HOOK[hook]
    if action.endswith("_next"):
        return TrainingPhase(semconv.PHASE_DATA)
    if kind in _USERS:
        return TrainingPhase(semconv.PHASE_CALLBACK, owner)
    return _BY_ACTION.get(action, LIGHTNING)


def within(outer: TrainingPhase, own: TrainingPhase) -> TrainingPhase:
    """The phase of an action that occurs in another one.

    Args:
        outer: phase of the action around it.
        own: its phase by itself.
    """
    if outer == _CHECKPOINT or (outer == _VALIDATION and own.name in _OF_VALIDATION):
        return outer
    return own
