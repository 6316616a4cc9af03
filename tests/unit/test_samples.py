from __future__ import annotations

import multiprocessing
import threading
from collections import Counter

import pytest
from opentelemetry.sdk.metrics import Counter as CounterInstrument
from opentelemetry.sdk.metrics import _Gauge
from opentelemetry.sdk.metrics.export import AggregationTemporality

from tests.support.sdk import KeepingExporter, provider, reader
from tracelet_otel import semconv
from tracelet_otel.protocol.samples import Moment, Samples, samples_context

THREADS = 8
PER_THREAD = 5_000


def context(step: int, value: float = 1):
    return samples_context(Samples([Moment(1_000_000 * step, step, semconv.AXIS_USER)], [0], [value]))


def exemplars(exporter):
    return [
        exemplar
        for data in exporter.exports
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        for exemplar in point.exemplars
    ]


@pytest.mark.parametrize("temporality", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA])
def test_every_sample_of_eight_threads_reaches_each_of_two_readers_once(temporality):
    chosen = {_Gauge: temporality, CounterInstrument: temporality}
    exporters = [KeepingExporter(preferred_temporality=chosen) for _ in range(2)]
    meters = provider(*(reader(exporter, interval_ms) for exporter, interval_ms in zip(exporters, (3, 7), strict=True)))
    gauge = meters.get_meter("test").create_gauge("gauge")
    counter = meters.get_meter("test").create_counter("counter")

    def work(thread: int) -> None:
        for index in range(PER_THREAD):
            step = thread * PER_THREAD + index
            gauge.set(step, {"thread": thread % 2}, context(step))
            counter.add(1, {"thread": thread % 2}, context(step))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    meters.shutdown()

    for exporter in exporters:
        steps = Counter(exemplar.filtered_attributes[semconv.STEP] for exemplar in exemplars(exporter))
        assert steps == Counter(dict.fromkeys(range(THREADS * PER_THREAD), 2))


def test_a_sample_carries_its_value_time_and_place():
    exporter = KeepingExporter()
    meters = provider(reader(exporter))
    moment = Moment(time_unix_nano=123, step=4, axis=semconv.AXIS_TRAINER, epoch=6)
    meters.get_meter("test").create_gauge("gauge").set(0.1, {"a": 1}, samples_context(Samples([moment], [5], [0.1])))
    meters.shutdown()

    (exemplar,) = exemplars(exporter)
    assert (exemplar.value, exemplar.time_unix_nano) == (0.1, 123)
    assert exemplar.filtered_attributes == {
        semconv.STEP: 4,
        semconv.AXIS: semconv.AXIS_TRAINER,
        semconv.SEQUENCE: 5,
        semconv.EPOCH: 6,
    }


def test_a_measurement_stands_for_all_its_samples():
    exporter = KeepingExporter()
    meters = provider(reader(exporter))
    first, second = Moment(1, 10, semconv.AXIS_USER), Moment(2, 20, semconv.AXIS_USER)
    carried = samples_context(Samples([first, first, second], [1, 2, 3], [0.5, 0.25, 0.125]))
    meters.get_meter("test").create_gauge("gauge").set(0.125, context=carried)
    meters.shutdown()
    found = [(one.value, one.time_unix_nano, one.filtered_attributes[semconv.STEP]) for one in exemplars(exporter)]
    assert found == [(0.5, 1, 10), (0.25, 1, 10), (0.125, 2, 20)]


def test_exemplars_are_a_sequence_like_any_other():
    moment = Moment(1, 10, semconv.AXIS_USER)
    found = Samples([moment] * 5, range(1, 6), [1.0, 2.0, 3.0, 4.0, 5.0])
    whole = list(found)
    assert [one.value for one in whole] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert (found[0], found[-1], list(found[1:3]), len(found)) == (whole[0], whole[-1], whole[1:3], 5)
    assert isinstance(found[1:3], Samples)
    with pytest.raises(IndexError):
        found[5]


def test_a_measurement_without_a_step_is_an_ordinary_gauge():
    exporter = KeepingExporter()
    meters = provider(reader(exporter))
    gauge = meters.get_meter("test").create_gauge("gauge")
    gauge.set(1)
    gauge.set(2)
    meters.shutdown()
    (point,) = exporter.exports[0].resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert point.value == 2
    assert not exemplars(exporter)


def test_the_last_value_stays_visible_and_its_sample_is_handed_out_once():
    exporter = KeepingExporter()
    meters = provider(reader(exporter))
    meters.get_meter("test").create_gauge("gauge").set(7, context=context(1))
    meters.force_flush()
    meters.force_flush()
    meters.shutdown()
    values = [
        data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0].value for data in exporter.exports
    ]
    assert values == [7, 7, 7]
    assert len(exemplars(exporter)) == 1


def _collect_in_child(meters, exporter, found):
    exporter.exports.clear()
    meters.force_flush()
    found.put(len(exemplars(exporter)))


def test_a_forked_child_exports_nothing_of_its_parent():
    exporter = KeepingExporter()
    meters = provider(reader(exporter))
    meters.get_meter("test").create_gauge("gauge").set(7, context=context(1))
    fork = multiprocessing.get_context("fork")
    found = fork.SimpleQueue()
    child = fork.Process(target=_collect_in_child, args=(meters, exporter, found))
    child.start()
    child.join(30)
    assert found.get() == 0
    meters.shutdown()
    assert len(exemplars(exporter)) == 1
