"""The relay's reading of OTLP: parts of requests, and what is no request of ours."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.support.sdk import comparable, decoded, exported
from tracelet_otel import semconv
from tracelet_otel.protocol.decode import decode
from tracelet_otel.protocol.requests import MalformedError, by_run, parse, split

names = st.text(min_size=1, max_size=8).filter(lambda name: name.isprintable())
rows = st.lists(st.dictionaries(names, st.floats(), max_size=4), max_size=6)


@settings(max_examples=40)
@given(rows)
def test_what_the_relay_reads_is_what_was_logged(rows):
    logged = [(name, str(value), step, step // 2) for step, row in enumerate(rows) for name, value in row.items()]
    (batch,) = decode(encode_metrics(exported(rows)).resource_metrics)
    assert [(one.name, str(one.value), one.step, one.epoch) for one in batch.readings] == logged
    assert [one.sequence for one in batch.readings] == list(range(1, len(logged) + 1))
    assert {(one.name, one.param.value) for one in batch.reports} == {("lr", 0.1), ("model/name", "cnn")}


@settings(max_examples=40)
@given(rows, st.integers(100, 3000))
def test_the_parts_of_a_split_request_say_the_same(rows, limit_bytes):
    data = exported(rows)
    parts = list(split(encode_metrics(data), limit_bytes))
    together = ExportMetricsServiceRequest()
    for part in parts:
        together.MergeFrom(part)
    whole = comparable(decoded(data))[0]
    found = comparable(decode(together.resource_metrics))
    assert sorted(reading for batch in found for reading in batch[1]) == sorted(whole[1])
    assert {report for batch in found for report in batch[2]} == {*whole[2]}
    assert {batch[3] for batch in found} - {None} == {semconv.OUTCOME_RUNNING}
    # Only what cannot be divided may be larger: one point, or one sample of it.
    for part in parts:
        points = [
            p
            for r in part.resource_metrics
            for s in r.scope_metrics
            for m in s.metrics
            for p in getattr(m, m.WhichOneof("data")).data_points
        ]
        assert part.ByteSize() <= limit_bytes or (len(points) <= 1 and sum(len(p.exemplars) for p in points) <= 1)


def test_requests_are_divided_by_run():
    both = encode_metrics(exported([{"a": 1.0}], "one"))
    both.MergeFrom(encode_metrics(exported([{"b": 2.0}], "two")))
    del both.resource_metrics.add().scope_metrics[:]  # a resource without a run
    found = {
        run_id: [reading.name for batch in decode(part) for reading in batch.readings]
        for run_id, part in by_run(both).items()
    }
    assert found == {"one": ["a"], "two": ["b"]}


def test_a_body_that_is_no_request_is_malformed():
    with pytest.raises(MalformedError, match="no OTLP metrics request"):
        parse(b"\xff not protobuf")


def test_a_name_that_is_no_text_is_malformed():
    request = encode_metrics(exported([{"a": 1.0}]))
    for scope in request.resource_metrics[0].scope_metrics:
        for metric in scope.metrics:
            for point in metric.gauge.data_points:
                for pair in point.attributes:
                    pair.value.int_value = 7
    with pytest.raises(MalformedError, match="is missing or no text"):
        list(decode(request.resource_metrics))


@pytest.mark.parametrize("rank", [-1, 2**20])
def test_a_rank_that_none_can_be_is_malformed(rank):
    request = encode_metrics(exported([{"a": 1.0}]))
    request.resource_metrics[0].resource.attributes.add(key=semconv.RANK).value.int_value = rank
    with pytest.raises(MalformedError, match="has to be from 0 to"):
        list(decode(request.resource_metrics))


@pytest.mark.parametrize("attribute", [semconv.STEP, semconv.SEQUENCE, semconv.AXIS])
def test_a_sample_that_lacks_something_is_malformed(attribute):
    request = encode_metrics(exported([{"a": 1.0}]))
    for scope in request.resource_metrics[0].scope_metrics:
        for metric in scope.metrics:
            for point in metric.gauge.data_points:
                for exemplar in point.exemplars:
                    for pair in exemplar.filtered_attributes:
                        if pair.key == attribute:
                            pair.value.bool_value = True
    with pytest.raises(MalformedError, match=rf"{attribute} is missing or"):
        list(decode(request.resource_metrics))
