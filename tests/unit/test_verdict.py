"""What bounds a training, by the time of its phases, and the table that says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelet_otel import semconv
from tracelet_otel.instrumentation.timing.phases import TrainingPhase
from tracelet_otel.instrumentation.timing.summary import summary
from tracelet_otel.instrumentation.timing.verdict import FEWEST_STEPS, FitTime, Judge, judged


def fit(steps: int = 100, samples: int | None = None, **seconds: float) -> FitTime:
    """Seconds by phase; an owner follows the phase's name and two underscores."""
    return FitTime({TrainingPhase(*name.split("__")): s for name, s in seconds.items()}, steps, samples)


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        ({"data_wait": 20, "forward": 80}, ("input-bound", "", 0.2)),
        ({"data_wait": 19, "forward": 81}, ("compute-bound", "", 0.81)),
        ({"transfer": 10, "forward": 90}, ("transfer-bound", "", 0.1)),
        ({"transfer": 10, "data_wait": 25, "backward": 65}, ("input-bound", "", 0.25)),
        ({"checkpoint": 10, "optimizer": 90}, ("checkpoint-bound", "", 0.1)),
        ({"validation": 30, "forward": 70}, ("validation-bound", "", 0.3)),
        ({"validation": 29, "forward": 71}, ("balanced", "", 0.71)),
        ({"callback__Slow": 11, "callback__Fast": 9, "forward": 80}, ("callback-bound", "Slow", 0.11)),
        # No single one of these is worth a word.
        ({"callback__A": 9, "callback__B": 9, "forward": 82}, ("compute-bound", "", 0.82)),
        ({"logging__CSVLogger": 12, "forward": 88}, ("logging-bound", "CSVLogger", 0.12)),
        ({"logging": 12, "forward": 88}, ("logging-bound", "", 0.12)),
        ({"lightning": 30, "forward": 70}, ("lightning-bound", "", 0.3)),
        # What comes before the first step bounds no step.
        ({"setup": 900, "forward": 85, "lightning": 15}, ("compute-bound", "", 0.85)),
        ({"forward": 30, "backward": 30, "optimizer": 20, "lightning": 20}, ("compute-bound", "", 0.8)),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_what_bounds_a_training(seconds, verdict):
    found = judged(fit(**seconds))
    assert found is not None
    assert (found.name, found.owner, found.share) == (*verdict[:2], pytest.approx(verdict[2]))
    assert f"{verdict[2]:.0%}" in found.text
    if found.owner:
        assert found.owner in found.text


def test_too_few_steps_and_no_time_have_no_verdict():
    assert judged(fit(FEWEST_STEPS - 1, data_wait=1)) is None
    assert judged(fit(FEWEST_STEPS, data_wait=1)) is not None
    assert judged(fit()) is None
    assert judged(FitTime()) is None


@given(st.dictionaries(st.sampled_from(semconv.PHASES), st.floats(0, 1e6), min_size=1))
def test_every_training_with_time_has_one_verdict_and_a_table_that_adds_up(seconds):
    time = fit(**seconds)
    verdict, table = judged(time), summary(time)
    assert (verdict is None) == (time.total_s <= 0)
    if verdict is not None:
        assert 0 <= verdict.share <= 1.0000001
        assert table.endswith(verdict.text)
        rows = [line.split() for line in table.splitlines()[1:-1]]
        assert sum(float(row[-1].rstrip("%")) for row in rows) == pytest.approx(100, abs=0.06 * len(rows))


def test_a_training_that_goes_on_is_judged_by_what_is_new():
    judge = Judge(every_s=60)
    judge.look(0, fit(0))
    judge.look(14, fit(1_000, data_wait=14))
    assert judge.verdict is None
    judge.look(15, fit(FEWEST_STEPS - 1, data_wait=15))
    assert judge.verdict is None
    judge.look(16, fit(1_000, data_wait=16))
    assert judge.verdict is not None
    assert judge.verdict.name == "input-bound"
    # It has got better workers, and is slow no more.
    judge.look(75, fit(2_000, data_wait=16, forward=59))
    assert judge.verdict.name == "input-bound"
    judge.look(76, fit(2_000, data_wait=16, forward=60))
    assert judge.verdict.name == "compute-bound"
    # Too few steps say nothing new.
    judge.look(180, fit(2_001, data_wait=121, forward=60))
    assert judge.verdict.name == "compute-bound"
    judge.conclude(fit(2_001, data_wait=121, forward=60))
    assert judge.verdict.name == "input-bound"


def test_the_table():
    time = fit(1_000, 8_000, setup=2, data_wait=30.25, forward=50, callback__Slow=4, lightning=0.05)
    assert summary(time) == (
        "tracelet: 1,000 steps in 86.3 s, 95 samples a second\n"
        "  forward             50.00 s   57.9%\n"
        "  data_wait           30.25 s   35.1%\n"
        "  callback Slow        4.00 s    4.6%\n"
        "  setup                2.00 s    2.3%\n"
        "  all else             0.05 s    0.1%\n"
        "  input-bound: 36% of the time the training waits for data. Give the DataLoader more workers (num_workers) "
        "and keep them (persistent_workers=True), let them fetch ahead (prefetch_factor), or do less for each sample."
    )
    assert summary(FitTime()) == ""
    assert "samples" not in summary(fit(forward=1))
