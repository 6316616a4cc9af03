from __future__ import annotations

import pytest

from tests.support.sdk import KeepingExporter, provider, reader
from tracelet_otel.instrumentation.outcome import Outcome, outcome_of


class SIGTERMException(SystemExit):  # as Lightning has it; that it does is a test of its own
    pass


class TrialPruned(Exception):  # noqa: N818 (as Optuna has it; that it does is a test of its own)
    __module__ = "optuna.exceptions"


class Mine(TrialPruned):
    pass


def raised_while_handling(error: BaseException, handled: BaseException) -> BaseException:
    error.__context__ = handled
    return error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "finished"),
        (ValueError(), "failed"),
        (KeyboardInterrupt(), "interrupted"),
        # What Lightning raises after Ctrl-C.
        (raised_while_handling(SystemExit(1), KeyboardInterrupt()), "interrupted"),
        (raised_while_handling(ValueError(), KeyboardInterrupt()), "failed"),
        (SIGTERMException(), "terminated"),
        (SystemExit(0), "finished"),
        (SystemExit(None), "finished"),
        (SystemExit(2), "failed"),
        (TrialPruned("at epoch 3"), "finished"),
        (Mine(), "finished"),
        (type("TrialPruned", (Exception,), {"__module__": "optunas"})(), "failed"),
    ],
)
def test_outcome_of_an_exception(error, outcome):
    assert outcome_of(error) == outcome


@pytest.mark.parametrize(
    ("last_training", "said", "error", "outcome"),
    [
        ("running", None, None, "finished"),
        ("failed", None, None, "failed"),
        ("failed", "finished", None, "finished"),
        ("finished", None, ValueError(), "failed"),
        ("interrupted", None, SystemExit(1), "interrupted"),
        ("terminated", None, SystemExit(0), "terminated"),
        ("finished", None, SystemExit(0), "finished"),
    ],
)
def test_the_end_of_a_run(last_training, said, error, outcome):
    exporter = KeepingExporter()
    meters = provider(reader(exporter))
    state = Outcome(meters)
    state.value = last_training
    state.settle(said, error)
    state.end()
    meters.shutdown()
    assert exporter.batches[-1].ended
    assert exporter.batches[-1].outcome == outcome


@pytest.mark.parametrize(
    ("of_training", "error", "pruned"),
    [
        (TrialPruned("at epoch 3"), None, "at epoch 3"),
        (TrialPruned(), None, "TrialPruned"),
        (None, TrialPruned("after it"), "after it"),
        (None, None, None),
        (ValueError(), None, None),
    ],
)
def test_what_was_said_when_a_trial_was_pruned(of_training, error, pruned):
    state = Outcome(provider())
    state.training_ended(of_training)
    state.settle(None, error)
    assert state.pruned == pruned


def test_a_training_that_has_failed_is_not_finished_because_its_trial_is_pruned():
    state = Outcome(provider())
    state.training_ended(MemoryError())
    state.settle(None, TrialPruned())
    assert state.value == "failed"
