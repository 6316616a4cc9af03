"""Our encoding of samples against the stock encoder's: the same message."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tracelet_otel import semconv
from tracelet_otel.protocol.encode import encode
from tracelet_otel.protocol.samples import Moment, Samples

int64 = st.integers(-(2**63), 2**63 - 1)
moments = st.builds(
    Moment,
    st.integers(0, 2**64 - 1),
    int64,
    st.sampled_from([semconv.AXIS_TRAINER, semconv.AXIS_USER, semconv.AXIS_NONE]),
    st.none() | int64,
    st.none() | st.integers(0, 2**40),
    st.none() | st.integers(1, 2**40),
)
samples = st.tuples(moments, st.integers(1, 2**63 - 1), st.floats() | st.just(1))
texts = st.text(max_size=300).filter(lambda text: text.isprintable())


def point(exemplars, name="loss"):
    return NumberDataPoint({semconv.METRIC_NAME: name}, 0, 7, 0.5, exemplars)


def exported(*metrics):
    scope = ScopeMetrics(InstrumentationScope("scope"), list(metrics), "")
    return MetricsData([ResourceMetrics(Resource({"run": "r"}), [scope], "")])


def gauge(*points):
    return Metric("gauge", "", "1", Gauge(list(points)))


def columns(samples):
    return Samples(*zip(*samples, strict=True)) if samples else Samples([], [], [])


def same(data):
    stock, ours = encode_metrics(data), encode(data)
    # NaN equals nothing: its bytes are compared.
    return ExportMetricsServiceRequest.FromString(ours).SerializeToString() == stock.SerializeToString()


@given(st.lists(st.tuples(texts, st.lists(samples, max_size=5)), max_size=4))
@example([("x", [(Moment(1, 1, "a" * 400), number, 1.0) for number in (1, 127, 128, 16383, 16384, 2**21, 2**28)])])
def test_samples_are_written_as_the_stock_encoder_writes_them(found):
    points = [point(columns(of_point), name) for name, of_point in found]
    counted = Sum(points, AggregationTemporality.CUMULATIVE, True)
    assert same(exported(gauge(*points), Metric("sum", "", "1", counted)))


def test_samples_of_one_moment_in_several_points_are_written_in_each():
    moment = Moment(3, 2, semconv.AXIS_TRAINER, 1)
    assert same(exported(gauge(*(point(Samples([moment], [number], [0.1])) for number in range(1, 4)))))


def test_what_has_no_samples_is_the_stock_encoders():
    ordinary = Exemplar({"a": 1}, 2.5, 9, span_id=1, trace_id=2)
    histogram = Histogram(
        [HistogramDataPoint({}, 0, 1, 2, 3.0, [1, 1], [0.5], 0.0, 3.0, [ordinary])], AggregationTemporality.CUMULATIVE
    )
    mixed = gauge(point([ordinary]), point(Samples([Moment(1, 2, "a")], [3], [4.0])), point([]))
    data = exported(Metric("histogram", "", "1", histogram), mixed)
    before = replace(mixed.data.data_points[1])
    assert same(data)
    assert mixed.data.data_points[1] == before


def test_equal_resources_are_as_the_stock_encoder_has_them():
    both = [exported(gauge(point(Samples([Moment(1, step, "a")], [3], [4.0])))) for step in (1, 2)]
    assert same(MetricsData([one.resource_metrics[0] for one in both]))
