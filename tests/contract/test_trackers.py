"""What every tracker has to do, on the real ones: names, steps, values, times, hyperparameters, identity, outcome."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from tests.contract.backends import PLACES, point, reading
from tests.support.fed import FedDelivery
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.protocol.decode import Batch, Param

NAMES = [
    "loss", "Loss", "lo@ss", "größe", "a//b", "/a", "7 days", "損失", "x" * 300, "x" * 301, "a b", "", "a/", "a.b",
    "a/b/c", "a_b/c", "a-b/c", "a/b-c", "plain", "plain/plain", "trainer/global_step", "_step", "_timestamp",
    "_runtime", "_own", "metric/_step", "line\nbreak", 'quo"te\\', "epoch", "step",
]  # fmt: skip


def record(backend, identity, readings=(), params=None, outcome=semconv.OUTCOME_FINISHED, **config):
    """A whole run in a tracker, as a delivery has it; returns what the tracker has then."""
    delivery = FedDelivery(backend.tracker(**config), Guard())
    delivery.open(identity.attributes | {semconv.RUN_NAME: identity.run_name})
    delivery.put(Batch(identity.attributes, tuple(readings), (), outcome), (params or {}).items())
    account = delivery.close(30)
    assert account.pending == 0, account
    assert delivery.complete
    return backend.stored(identity.run_id)


def test_names_steps_values_and_times(backend, identity):
    readings = [reading(f"metric {n % 7}", n / 3, n // 7, 1_700_000_000_000 + n // 7) for n in range(1500)]
    assert record(backend, identity, readings).points == Counter(backend.kept(readings))


def test_identity_hyperparameters_and_place(backend, identity):
    tracker = backend.tracker()
    place = tracker.open(identity)
    params = {f"p{number}": Param(str(number), semconv.TYPE_INT) for number in range(250)}
    tracker.log_params(params)
    tracker.close(semconv.OUTCOME_FINISHED)
    stored = backend.stored(identity.run_id)
    assert (stored.name, stored.project) == ("name of the run", "name of the project")
    assert {name: str(value) for name, value in stored.params.items()} == {n: p.text for n, p in params.items()}
    assert {name: stored.facts[name] for name in identity.attributes} == {
        name: str(value) for name, value in identity.attributes.items()
    }
    assert place.url


@pytest.mark.parametrize("outcome", [*semconv.OUTCOMES, semconv.OUTCOME_RUNNING, None])
def test_outcome(backend, identity, outcome):
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.close(outcome)
    expected = backend.statuses.get(outcome, backend.statuses[None])
    assert backend.stored(identity.run_id).status == expected


def test_what_was_delivered_before_a_kill_is_not_there_twice(backend, identity):
    """A journal may not know yet that its last batch was taken: the next process sends it again."""
    before = [reading("loss", n / 3, n, 1_700_000_000_000 + n) for n in range(50)]
    again = [
        *(reading("loss", 50 / 3 + n, 50 + n, 1_700_000_000_050 + n) for n in range(20)),
        *(reading("acc@1", 2.0, n, 1_700_000_000_050 + n) for n in range(20)),
    ]
    after = [reading("loss", 99.0, 99, 1_700_000_001_000)]
    first = backend.tracker()
    first.open(identity)
    first.log_readings(before)
    first.log_readings(again)
    first.close(None)
    readings = [*before, *again, *after]
    assert record(backend, identity, [*again, *after]).points == Counter(backend.kept(readings))


def test_late_and_negative_steps(backend, identity):
    readings = [reading("loss", 1.0, 5, 1001), reading("loss", 2.0, 3, 1002), reading("loss", 3.0, -1, 1003)]
    assert record(backend, identity, readings).points == Counter(backend.kept(readings))


def test_two_values_at_one_step(backend, identity):
    readings = [reading("loss", 1.0, 5, 1001), reading("loss", 2.0, 5, 1002), reading("loss", 3.0, 6, 1002)]
    assert record(backend, identity, readings).points == Counter(backend.kept(readings))


def test_nonfinite_and_extreme_values(backend, identity):
    values = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e-30, 3e38, 1e300, 0.1, 2**53 + 1.0]
    readings = [reading("loss", value, step, 1000 + step) for step, value in enumerate(values)]
    assert record(backend, identity, readings).points == Counter(backend.kept(readings))


def test_names_are_kept_apart_and_can_be_read_back(backend, identity):
    readings = [reading(name, float(index), 3, 1000) for index, name in enumerate(NAMES)]
    assert record(backend, identity, readings).points == Counter(backend.kept(readings))


def test_gpu_and_host_are_where_the_tracker_shows_them(backend, identity):
    """Also where something logged has the same name, and where the run goes on."""

    def collection(step, time_ms):
        return [reading(name, value, step, time_ms, is_system=True) for value, name in enumerate(backend.system_names)]

    logged = [reading("loss", 0.5, 3, 1000), reading("loss", 0.25, 4, 1900)]
    first, second = collection(3, 1500), collection(4, 2000)
    record(backend, identity, [logged[0], *first])
    # What was logged without a step is where the row before it was logged, not measured.
    without_step = reading("lr", 0.1, 0, 2300, axis=semconv.AXIS_NONE)
    stored = record(backend, identity, [logged[1], *second, without_step])
    at = 4 if backend.name == "wandb" else 0
    expected = Counter(backend.kept([*logged, *first, *second]))
    assert stored.points == expected + Counter([point("lr", at, 0.1, 2300)])


def test_what_is_logged_under_the_name_of_a_reading_of_the_host_is_kept_apart(backend, identity):
    measured = reading("system/cpu_utilization_percentage", 1.0, 3, 1000, is_system=True)
    logged = reading("system/cpu_utilization_percentage", 2.0, 3, 1000)
    assert record(backend, identity, [measured, logged]).points == Counter(backend.kept([measured, logged]))


def test_what_is_logged_under_one_name_stays_under_it_when_the_run_goes_on(backend, identity):
    names = ["a/b/c", "a_b/c", "lo@ss", "lo#ss", "_step", "metric/_step"]
    first = [reading(name, float(index), 1, 1000) for index, name in enumerate(names)]
    second = [reading(name, float(index), 2, 2000) for index, name in enumerate(reversed(names))]
    record(backend, identity, first)
    assert record(backend, identity, second).points == Counter(backend.kept([*first, *second]))


@pytest.mark.parametrize("backend", [place for place in PLACES if not place.startswith("W&B")], indirect=True)
def test_a_reading_that_cannot_be_stored_is_refused_alone_and_said_once(backend, identity, caplog):
    readings = [reading("loss", float(step), step, 1000 + step) for step in range(10)]
    delivery = FedDelivery(backend.tracker(), Guard())
    delivery.open(identity.attributes)
    bad = [backend.refused, backend.refused._replace(time_unix_nano=5)]
    delivery.put(Batch(identity.attributes, (*readings[:5], *bad, *readings[5:]), (), semconv.OUTCOME_FINISHED))
    account = delivery.close(30)
    assert (account.delivered, account.refused, account.pending) == (10, 2, 0)
    assert caplog.text.count(f"{backend.name} refused metric {backend.refused.name!r}") == 1
    assert backend.stored(identity.run_id).points == Counter(backend.kept(readings))


def test_hyperparameters_of_every_kind(backend, identity):
    params = {
        "lr": Param("0.1", semconv.TYPE_FLOAT),
        "flag": Param("True", semconv.TYPE_BOOL),
        "nothing": Param("None", semconv.TYPE_NONE),
        "text": Param("64"),
        "empty": Param(""),
        "model/width": Param("7", semconv.TYPE_INT),
        "model/depth": Param("3", semconv.TYPE_INT),
    }
    stored = record(backend, identity, [reading("loss", 1.0)], params)
    if backend.name == "wandb":
        config = {"lr": 0.1, "flag": True, "nothing": None, "text": "64", "empty": ""}
        assert stored.params == {**config, "model": {"width": 7, "depth": 3}}
    else:
        assert stored.params == {name: param.text for name, param in params.items()}


def test_hyperparameters_that_come_later_are_added(backend, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.log_params({"model/width": Param("7", semconv.TYPE_INT), "lr": Param("0.1", semconv.TYPE_FLOAT)})
    tracker.log_params({"model/depth": Param("3", semconv.TYPE_INT)})
    tracker.close(semconv.OUTCOME_FINISHED)
    params = backend.stored(identity.run_id).params
    expected = {"model": {"width": 7, "depth": 3}, "lr": 0.1}
    assert params == expected if backend.name == "wandb" else params.keys() == {"model/width", "model/depth", "lr"}


def test_a_creation_that_is_repeated_finds_its_run(backend, identity):
    first = backend.tracker()
    first.open(identity)
    first.close(None)
    readings = [reading("loss", 1.0)]
    assert record(backend, identity, readings).points == Counter(backend.kept(readings))


def test_a_run_is_continued(backend, identity):
    first, second = [reading("acc@1", 1.0, 0, 1000)], [reading("acc#1", 2.0, 0, 2000), reading("acc@1", 3.0, 1, 2000)]
    record(backend, identity, first, {"lr": Param("0.1", semconv.TYPE_FLOAT)}, semconv.OUTCOME_FAILED)
    stored = record(backend, identity, second, {"lr": Param("0.1", semconv.TYPE_FLOAT)}, run_id=identity.run_id)
    assert stored.points == Counter(backend.kept([*first, *second]))
    assert stored.status == backend.statuses["finished"]


# Offline, W&B does not know which runs there are.
@pytest.mark.parametrize("backend", [place for place in PLACES if place != "W&B offline"], indirect=True)
def test_a_run_that_does_not_exist_cannot_be_continued(backend, identity):
    with pytest.raises(ConfigurationError, match=r"no run to continue: .*nowhere"):
        backend.tracker(run_id="nowhere").open(identity)
