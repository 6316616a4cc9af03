"""The host, measured on this machine."""

from __future__ import annotations

import json

import psutil
import pytest
from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.semconv._incubating.metrics import process_metrics, system_metrics

from tracelet_otel.system.host import observe_host

EXPECTED = {
    process_metrics.PROCESS_CPU_TIME: ("s", [{"type": state} for state in ("user", "system")]),
    process_metrics.PROCESS_MEMORY_USAGE: ("By", [{}]),
    process_metrics.PROCESS_THREAD_COUNT: ("", [{}]),
    system_metrics.SYSTEM_CPU_TIME: (
        "s",
        [
            {"cpu": cpu + 1, "state": state}
            for cpu in range(psutil.cpu_count())
            for state in ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
        ],
    ),
    system_metrics.SYSTEM_MEMORY_USAGE: ("By", [{"state": state} for state in ("used", "free", "cached")]),
    system_metrics.SYSTEM_MEMORY_UTILIZATION: ("1", [{"state": state} for state in ("used", "free", "cached")]),
    system_metrics.SYSTEM_DISK_IO: (
        "By",
        [
            {"device": name, "direction": direction}
            for name in psutil.disk_io_counters(perdisk=True)
            for direction in ("read", "write")
        ],
    ),
    system_metrics.SYSTEM_NETWORK_IO: (
        "By",
        [
            {"device": name, "direction": direction}
            for name in psutil.net_io_counters(pernic=True)
            for direction in ("receive", "transmit")
        ],
    ),
}


def collect(reader):
    (resource_metrics,) = reader.get_metrics_data().resource_metrics
    (scope,) = resource_metrics.scope_metrics
    return {metric.name: metric for metric in scope.metrics}


@pytest.fixture
def own():
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    observe_host(provider)
    yield reader
    provider.shutdown()


def told(metric):
    return sorted(sorted(point.attributes.items()) for point in metric.data.data_points)


def test_the_chosen_set(own):
    found = collect(own)
    assert {name: (metric.unit, told(metric)) for name, metric in found.items()} == {
        name: (unit, sorted(sorted(attributes.items()) for attributes in points))
        for name, (unit, points) in EXPECTED.items()
    }
    with open("/proc/self/status") as status:  # noqa: PTH123
        said = dict(line.split(":", 1) for line in status)
    (threads,) = found["process.thread.count"].data.data_points
    (memory,) = found["process.memory.usage"].data.data_points
    assert threads.value == int(said["Threads"])
    assert memory.value == pytest.approx(int(said["VmRSS"].split()[0]) * 1024, rel=0.1)


@pytest.mark.parametrize("first", ["theirs", "ours"])
def test_what_others_have_instrumented_goes_on(caplog, first):
    """The stock instrumentor is one object in a process; made twice, its callbacks fail."""
    readers = {whose: InMemoryMetricReader() for whose in ("theirs", "ours")}
    providers = {whose: MeterProvider([reader], shutdown_on_exit=False) for whose, reader in readers.items()}
    stock = None
    try:
        for whose in sorted(readers, key=first.__ne__):
            if whose == "theirs":
                stock = SystemMetricsInstrumentor()
                stock.instrument(meter_provider=providers["theirs"])
            else:
                observe_host(providers["ours"])
        assert collect(readers["ours"]).keys() == EXPECTED.keys()
        assert collect(readers["theirs"]).keys() > EXPECTED.keys()
        assert stock.is_instrumented_by_opentelemetry
        assert caplog.text == ""
    finally:
        stock.uninstrument()
        SystemMetricsInstrumentor._instance = None
        for provider in providers.values():
            provider.shutdown()


def test_each_run_has_its_own(caplog):
    for _ in range(2):
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader], shutdown_on_exit=False)
        observe_host(provider)
        assert collect(reader).keys() == EXPECTED.keys()
        provider.shutdown()
    assert caplog.text == ""


@pytest.mark.cold
def test_what_cannot_be_read_is_left_out(run):
    child = run("observed_host.py", "net")
    assert child.returncode == 0, child.stderr
    assert set(json.loads(child.stdout)) == EXPECTED.keys() - {"system.network.io"}
    assert "system.network.io is not measured here: " in child.stderr
    assert "Traceback" not in child.stderr


@pytest.mark.cold
def test_without_the_extra_there_is_a_line_for_who_looks(run):
    child = run("observed_host.py", "opentelemetry.instrumentation.system_metrics")
    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout) == []
    assert "the host is not measured" in child.stderr
    assert "pip install 'tracelet-otel[system]'" in child.stderr
