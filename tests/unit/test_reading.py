"""What a tracker is given of samples, whichever way they came."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import Gauge, Metric, MetricsData, NumberDataPoint, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tracelet_otel import semconv
from tracelet_otel.exporters.reading import Reading, decode
from tracelet_otel.samples import Moment, Samples

moments = st.builds(
    Moment,
    st.integers(0, 2**63),
    st.integers(),
    st.sampled_from([semconv.AXIS_TRAINER, semconv.AXIS_NONE]),
    st.none() | st.integers(),
    st.none() | st.integers(1, 9),
    st.none() | st.integers(1, 9),
)


def readings(exemplars, attributes):
    point = NumberDataPoint(attributes, 0, 7, 0.5, exemplars)
    scope = ScopeMetrics(InstrumentationScope(semconv.SCOPE_LOGGED), [Metric("loss", "", "", Gauge([point]))], "")
    (batch,) = decode(MetricsData([ResourceMetrics(Resource({}), [scope], "")]))
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
