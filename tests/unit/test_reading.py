"""What a tracker is given of samples, whichever way they came."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import Gauge, Metric, MetricsData, NumberDataPoint, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tests.support.sdk import decoded
from tracelet_otel import semconv
from tracelet_otel.protocol.decode import Batch, Param, Reading
from tracelet_otel.protocol.samples import Moment, Samples
from tracelet_otel.protocol.trainer_state import TrainerState

moments = st.builds(
    Moment,
    st.integers(0, 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([semconv.AXIS_TRAINER, semconv.AXIS_NONE]),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.integers(1, 9),
    st.none() | st.integers(1, 9),
)


def scope(name, *metrics):
    """What was measured in a scope: of each metric its name, and value, samples and attributes of its one point."""
    found = [
        Metric(metric, "", "", Gauge([NumberDataPoint(attributes, 0, 7, value, samples)]))
        for metric, value, samples, attributes in metrics
    ]
    return ScopeMetrics(InstrumentationScope(name), found, "")


def batches_of(*scopes, **resource):
    return decoded(MetricsData([ResourceMetrics(Resource(resource), list(scopes), "")]))


def readings(exemplars, attributes):
    (batch,) = batches_of(scope(semconv.SCOPE_LOGGED, ("loss", 0.5, exemplars, attributes)))
    return batch.readings


@given(st.lists(moments), st.sampled_from(["", "fit"]), st.sampled_from([None, "NaN", "-Inf"]))
def test_columns_and_exemplars_are_the_same_readings(found, stage, kind):
    attributes = {semconv.METRIC_NAME: "loss", semconv.STAGE: stage, semconv.REDUCTION: semconv.REDUCTION_MAX}
    if kind is not None:
        attributes[semconv.NONFINITE_KIND] = kind
    samples = Samples(found, range(1, len(found) + 1), [float(number) for number in range(len(found))])
    of_columns, of_exemplars = readings(samples, attributes), readings(list(samples), attributes)
    assert [repr(one) for one in of_columns] == [repr(one) for one in of_exemplars]
    assert len(of_columns) == len(found)


def test_a_reading_has_everything_that_its_sample_has():
    samples = Samples([Moment(9, 4, semconv.AXIS_USER, 2, 3, 8)], [5], [0.25])
    attributes = {
        semconv.METRIC_NAME: "loss",
        semconv.STAGE: "test",
        semconv.REDUCTION: semconv.REDUCTION_SUM,
    }
    expected = Reading("loss", 0.25, 4, 9, semconv.AXIS_USER, 5, "test", 2, semconv.REDUCTION_SUM, 3, 8)
    assert readings(samples, attributes) == (expected,)
    bare = Samples([samples.moments[0]._replace(training=None, world_size=None)], [5], [0.25])
    assert readings(bare, attributes) == (expected._replace(training=0, world_size=1),)


def test_a_process_that_sends_what_it_logged_and_readings_of_its_machine_has_sent_two_batches():
    logged = Samples([Moment(9, 4, semconv.AXIS_TRAINER, 2, None, None)], [1], [0.25])
    measured = Samples([Moment(8, 4, semconv.AXIS_TRAINER, None, None, None)], [1], [50.0])
    found = batches_of(
        scope(semconv.SCOPE_SYSTEM, ("reading", 50.0, measured, {semconv.METRIC_NAME: "power_usage_watts"})),
        scope(semconv.SCOPE_LOGGED, ("loss", 0.25, logged, {semconv.METRIC_NAME: "loss"})),
        host="one",
    )
    system = Reading("system/power_usage_watts", 50.0, 4, 8, semconv.AXIS_TRAINER, 1, is_system=True)
    loss = Reading("loss", 0.25, 4, 9, semconv.AXIS_TRAINER, 1, epoch=2)
    assert found == [
        Batch({"host": "one"}, (system,), (), None, is_system=True),
        Batch({"host": "one"}, (loss,), (), None),
    ]


def test_a_process_has_a_trainer_where_it_tells_of_one():
    of_a_run = (semconv.SAMPLES, 3, [], {}), (semconv.QUEUE_SIZE, 2, [], {})
    expected = Batch({}, (), (), None, samples=3, queued=2)
    assert batches_of(scope(semconv.SCOPE_RUN, *of_a_run)) == [expected]
    of_a_trainer = (semconv.GLOBAL_STEP, 0, [], {})
    begun = replace(expected, has_trainer=True, trainer=TrainerState(0, None, None, None))
    assert batches_of(scope(semconv.SCOPE_RUN, *of_a_run, of_a_trainer)) == [begun]
    more = (semconv.TRAINER_EPOCH, 3, [], {}), (semconv.TRAINER_PROGRESS, 0.25, [], {})
    (batch,) = batches_of(scope(semconv.SCOPE_RUN, of_a_trainer, *more, (semconv.TRAINER_TIME_REMAINING, 8.5, [], {})))
    assert batch.trainer == TrainerState(0, 3, 0.25, 8.5)


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("True", semconv.TYPE_BOOL, True),
        ("False", semconv.TYPE_BOOL, False),
        ("None", semconv.TYPE_NONE, None),
        ("7", semconv.TYPE_INT, 7),
        ("7", semconv.TYPE_FLOAT, 7.0),
        ("7", "", "7"),
        ("False", "", "False"),
        # What another program has written need not be what it says.
        ("maybe", semconv.TYPE_BOOL, "maybe"),
        ("seven", semconv.TYPE_INT, "seven"),
    ],
)
def test_a_hyperparameter_is_again_what_it_was(text, kind, expected):
    value = Param(text, kind).value
    assert (type(value), value) == (type(expected), expected)
