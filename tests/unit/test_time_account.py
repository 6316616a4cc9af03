"""The time of phases, from the beginnings and ends of actions."""

from __future__ import annotations

import pickle
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelet_otel import semconv
from tracelet_otel.instrumentation.timing.account import Spent, TimeAccount
from tracelet_otel.instrumentation.timing.actions import Action, Actions
from tracelet_otel.instrumentation.timing.phases import TrainingPhase, phase_of


@pytest.mark.parametrize(
    ("action", "phase"),
    [
        ("[_TrainingEpochLoop].train_dataloader_next", TrainingPhase(semconv.PHASE_DATA)),
        ("[_EvaluationLoop].val_next", TrainingPhase(semconv.PHASE_DATA)),
        ("[Strategy]SingleDeviceStrategy.batch_to_device", TrainingPhase(semconv.PHASE_TRANSFER)),
        ("[LightningModule]M.transfer_batch_to_device", TrainingPhase(semconv.PHASE_TRANSFER)),
        ("[Strategy]DDPStrategy.training_step", TrainingPhase(semconv.PHASE_FORWARD)),
        ("[Strategy]DDPStrategy.backward", TrainingPhase(semconv.PHASE_BACKWARD)),
        ("[LightningModule]M.optimizer_step", TrainingPhase(semconv.PHASE_OPTIMIZER)),
        ("[LightningModule]M.configure_optimizers", TrainingPhase(semconv.PHASE_SETUP)),
        ("[LightningModule]M.on_train_batch_end", TrainingPhase(semconv.PHASE_CALLBACK, "M")),
        ("[LightningDataModule]D.on_exception", TrainingPhase(semconv.PHASE_CALLBACK, "D")),
        ("[Callback]Timer.on_train_batch_start", TrainingPhase(semconv.PHASE_CALLBACK, "Timer")),
        ("[Callback]test.<locals>.Local.on_fit_end", TrainingPhase(semconv.PHASE_CALLBACK, "Local")),
        # A callback's own training step is the callback's.
        ("[Callback]Mine.training_step", TrainingPhase(semconv.PHASE_CALLBACK, "Mine")),
        ("[Callback]Stopping{'monitor': 'a]b.c'}.setup", TrainingPhase(semconv.PHASE_CALLBACK, "Stopping")),
        ("[Logger]CSVLogger", TrainingPhase(semconv.PHASE_LOGGING, "CSVLogger")),
        ("save_checkpoint", TrainingPhase(semconv.PHASE_CHECKPOINT)),
        ("run_training_epoch", TrainingPhase(semconv.PHASE_LIGHTNING)),
        ("[Strategy]DDPStrategy.on_train_batch_start", TrainingPhase(semconv.PHASE_LIGHTNING)),
        ("what a user's own code calls so", TrainingPhase(semconv.PHASE_LIGHTNING)),
    ],
)  # fmt: skip
def test_the_phase_of_an_action(action, phase):
    assert phase_of(action) == phase


class Told:
    """Notes actions at times that a test tells."""

    def __init__(self) -> None:
        self.actions = Actions(lambda: None)
        self.account = TimeAccount()

    def note(self, action: str | Action, time_ns: int) -> None:
        self.actions.events.extend((self.actions[action] if isinstance(action, str) else action, time_ns))

    @property
    def spent(self) -> dict[tuple[str, str, str], int]:
        self.account.take(self.actions.events)
        return {(spent.phase.name, spent.phase.owner, spent.stage): ns for spent, ns in self.account.spent_ns.items()}


def test_what_is_within_an_action_is_not_its_own():
    told = Told()
    fit = told.actions.call("fit")
    step = "[LightningModule]M.optimizer_step"
    told.note(fit, 100)
    told.note(step, 110)
    told.note("[Strategy]S.training_step", 115)
    told.note("[Strategy]S.training_step", -135)
    told.note("[Strategy]S.backward", 136)
    told.note("[Strategy]S.backward", -146)
    told.note(step, -150)
    told.note(fit, -160)
    told.note("[Strategy]S.backward", 500)
    told.note("[Strategy]S.backward", -501)
    assert told.spent == {
        ("lightning", "", "fit"): 20,
        ("optimizer", "", "fit"): 5 + 1 + 4,
        ("forward", "", "fit"): 20,
        ("backward", "", "fit"): 10,
        ("backward", "", ""): 1,
    }


def test_a_validation_has_its_own_phase_but_not_its_callbacks_and_checkpoints():
    told = Told()
    fit = told.actions.call("fit")
    times = iter(range(0, 1_000, 10))
    told.note(fit, next(times))
    told.note(told.actions.validation, next(times))
    for action in ("[_EvaluationLoop].val_next", "[Strategy]S.validation_step", "[Callback]C.on_validation_end"):
        told.note(action, next(times))
        told.note(action, -next(times))
    told.note("[Callback]ModelCheckpoint{}.on_validation_end", next(times))
    told.note("save_checkpoint", next(times))
    told.note("[Callback]C.on_save_checkpoint", next(times))
    told.note("[Callback]C.on_save_checkpoint", -next(times))
    told.note("save_checkpoint", -next(times))
    told.note("[Callback]ModelCheckpoint{}.on_validation_end", -next(times))
    told.note(told.actions.validation, -next(times))
    assert told.spent == {
        ("lightning", "", "fit"): 10,
        ("validation", "", "fit"): 70,
        ("callback", "C", "fit"): 10,
        ("callback", "ModelCheckpoint", "fit"): 20,
        ("checkpoint", "", "fit"): 30,
    }


NAMES = ("[Strategy]S.backward", "[Callback]C.on_fit_end", "save_checkpoint", "[LightningModule]M.setup")


NOTED = st.tuples(st.sampled_from(NAMES), st.booleans(), st.integers(-50, 50), st.booleans())


@given(st.lists(NOTED), st.integers(0, 99))
def test_whatever_is_lost_the_sum_is_the_time_of_the_call(noted, more):
    """Beginnings and ends in any order, as where a profiler raises, and ends of which Ctrl-C has taken the time.

    A clock that goes back makes no time: what it tells a second time counts once.
    """
    told = Told()
    fit = told.actions.call("fit")
    now = latest = 1
    told.note(fit, now)
    for name, begins, later, is_cut in noted:
        now = max(now + later, 1)
        latest = max(latest, now)
        if is_cut:
            told.actions.events.append(told.actions[name])
        told.note(name, now if begins else -now)
    now += more
    latest = max(latest, now)
    told.note(fit, -now)
    told.note(NAMES[0], latest + 5)
    spent = Counter()
    for (*_, stage), ns in told.spent.items():
        spent[stage] += ns
    assert spent["fit"] == latest - 1


def test_what_goes_on_is_counted_up_to_now_and_no_time_twice():
    told = Told()
    told.note(told.actions.call("fit"), 10)
    told.note("[Strategy]S.backward", 20)
    assert told.spent == {("lightning", "", "fit"): 10, ("backward", "", "fit"): 0}
    told.account.settle(70)
    # Its time was read before that of `settle`, and it came after.
    told.note("[Strategy]S.backward", -69)
    told.note("[Strategy]S.backward", 80)
    assert told.spent == {("lightning", "", "fit"): 20, ("backward", "", "fit"): 50}


def test_events_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr("tracelet_otel.instrumentation.timing.actions._MOST_EVENTS", 100)
    account = TimeAccount()
    actions = Actions(lambda: account.take(actions.events))
    with actions.call("fit"):
        for _ in range(1_000):
            with actions["[Strategy]S.training_step"], actions["[Callback]C.on_train_batch_end"]:
                assert len(actions.events) <= 110
    account.take(actions.events)
    assert set(account.spent_ns) == {
        Spent(phase, "fit")
        for phase in (TrainingPhase("lightning"), TrainingPhase("forward"), TrainingPhase("callback", "C"))
    }


def test_a_copy_of_actions_notes_nothing():
    actions = Actions(lambda: None)
    copied = pickle.loads(pickle.dumps(actions.__getitem__))
    with copied("save_checkpoint"):
        pass
    assert not actions.events
