"""Points of GPU and host, in the terms of trackers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from tests.support.sdk import decoded
from tracelet_otel import semconv
from tracelet_otel.system.tracker_view import SystemReadings

GPU = [
    ("hw.gpu.utilization", {"hw.gpu.task": "general"}, 0.5, "utilization_percentage", 50.0),
    ("hw.gpu.utilization", {"hw.gpu.task": "encoder"}, 0.25, "encoder_utilization_percentage", 25.0),
    ("hw.gpu.utilization", {"hw.gpu.task": "decoder"}, 0.125, "decoder_utilization_percentage", 12.5),
    ("hw.gpu.memory.usage", {}, 8_000_000, "memory_usage_megabytes", 8.0),
    ("hw.gpu.memory.limit", {}, 16_000_000, None, None),
    ("hw.gpu.memory.utilization", {}, 0.5, "memory_usage_percentage", 50.0),
    ("hw.power", {}, 250.5, "power_usage_watts", 250.5),
    ("hw.energy", {}, 1234.5, "energy_joules", 1234.5),
    ("hw.temperature", {}, 61, "temperature_celsius", 61),
    ("hw.fan.speed_ratio", {}, 0.75, "fan_speed_percentage", 75.0),
    ("hw.errors", {"error.type": "corrected"}, 3, "errors_corrected", 3),
    ("hw.errors", {"error.type": "uncorrected"}, 0, "errors_uncorrected", 0),
    ("hw.status", {"hw.state": "ok"}, 1, None, None),
    ("tracelet.gpu.clock.frequency", {"tracelet.gpu.clock": "sm"}, 1_410_000_000, "sm_clock_megahertz", 1410.0),
    ("tracelet.gpu.clock.frequency", {"tracelet.gpu.clock": "memory"}, 10**9, "memory_clock_megahertz", 1000.0),
    ("tracelet.gpu.throttle", {"tracelet.gpu.throttle.reason": "idle"}, 1, None, None),
    ("tracelet.gpu.pcie.throughput", {"network.io.direction": "receive"}, 2e6, "pcie_receive_megabytes_per_second", 2),
    ("tracelet.gpu.pcie.throughput", {"network.io.direction": "transmit"}, 1e6, "pcie_transmit_megabytes_per_second", 1),  # noqa: E501
    ("tracelet.gpu.process.memory.usage", {}, 5_000_000, "process_memory_usage_megabytes", 5.0),
]  # fmt: skip


class Machine:
    """Counters and gauges of the real SDK, with values that a test gives."""

    def __init__(self, **attributes):
        self.points = []
        self.reader = InMemoryMetricReader()
        self._meter = MeterProvider([self.reader], Resource(attributes), shutdown_on_exit=False).get_meter("any")
        self._names = set()
        self.readings = SystemReadings()

    def collect(self, points, step=7):
        self.points = points
        for name in dict.fromkeys(name for name, _, _ in points):
            if name not in self._names:
                self._names.add(name)
                self._meter.create_observable_gauge(name, [lambda _, name=name: self._observe(name)])
        data = self.readings.of(self.reader.get_metrics_data(), step)
        (batch,) = decoded(data)
        assert batch.is_system
        return {one.name.removeprefix("system/"): one.value for one in batch.readings}, batch

    def _observe(self, wanted):
        return [Observation(value, attributes) for name, attributes, value in self.points if name == wanted]


def test_each_reading_of_a_gpu():
    points = [
        (name, {**told, "tracelet.gpu.index": index}, value) for index in (0, 11) for name, told, value, *_ in GPU
    ]
    found, batch = Machine().collect(points)
    expected = {f"gpu_{i}_{name}": value for i in (0, 11) for *_, name, value in GPU if name is not None}
    assert found == pytest.approx(expected)
    assert {(one.step, one.axis) for one in batch.readings} == {(7, semconv.AXIS_TRAINER)}
    assert [one.sequence for one in batch.readings] == list(range(1, len(expected) + 1))
    assert len({one.time_unix_nano for one in batch.readings}) == 1


def test_each_reading_of_a_host():
    machine = Machine()

    def points(seconds, sent):
        return [
            *(("system.cpu.time", {"cpu": cpu, "state": "idle"}, seconds * 0.5) for cpu in (1, 2)),
            *(("system.cpu.time", {"cpu": cpu, "state": "iowait"}, seconds * 0.25) for cpu in (1, 2)),
            *(("system.cpu.time", {"cpu": cpu, "state": "user"}, seconds * 0.25) for cpu in (1, 2)),
            ("process.cpu.time", {"type": "user"}, seconds * 1.0),
            ("process.cpu.time", {"type": "system"}, seconds * 0.5),
            ("process.memory.usage", {}, 3_000_000),
            ("process.thread.count", {}, 12),
            ("system.memory.usage", {"state": "used"}, 4_000_000_000),
            ("system.memory.usage", {"state": "free"}, 1_000_000_000),
            ("system.memory.utilization", {"state": "used"}, 0.8),
            ("system.network.io", {"device": "lo", "direction": "transmit"}, 10 * sent),
            ("system.network.io", {"device": "eth0", "direction": "transmit"}, 7_000_000 + sent),
            ("system.network.io", {"device": "eth1", "direction": "transmit"}, sent),
            ("system.network.io", {"device": "eth0", "direction": "receive"}, 5_000_000),
            *(("system.disk.io", {"device": name, "direction": "write"}, 2 * sent) for name in ("sda", "sda1", "sdaa")),
            *(("system.disk.io", {"device": name, "direction": "read"}, sent) for name in ("nvme0n1", "nvme0n1p2", "dm-1", "dm-11")),  # noqa: E501
        ]  # fmt: skip

    steady = {
        "process_memory_usage_megabytes": 3.0,
        "process_threads": 12,
        "system_memory_usage_megabytes": 4000.0,
        "system_memory_usage_percentage": 80.0,
        "network_receive_megabytes": 0.0,
    }
    since_start = ("network_transmit_megabytes", "disk_write_megabytes", "disk_read_megabytes")
    # What is shared over time is not known at first: absent, and not 0.
    assert machine.collect(points(100, 1_000_000))[0] == pytest.approx({**steady, **dict.fromkeys(since_start, 0.0)})
    assert machine.collect(points(110, 3_000_000))[0] == pytest.approx(
        {
            **steady,
            "network_transmit_megabytes": 4.0,
            "disk_write_megabytes": 8.0,
            "disk_read_megabytes": 2.0,
            "cpu_utilization_percentage": 25.0,
            "process_cpu_utilization_percentage": 150.0,
        }
    )


def test_other_nodes_are_told_apart():
    points = [("hw.power", {"tracelet.gpu.index": 0}, 1.0), ("process.thread.count", {}, 3)]
    first = Machine(**{semconv.NODE_RANK: 0}).collect(points)[1]
    second = Machine(**{semconv.NODE_RANK: 1}).collect(points)[1]
    assert [one.name for one in first.readings] == ["system/gpu_0_power_usage_watts", "system/process_threads"]
    assert [one.name for one in second.readings] == [
        "system/node_1/gpu_0_power_usage_watts",
        "system/node_1/process_threads",
    ]


def test_nothing_measured_is_no_reading():
    machine = Machine()
    machine.collect([("hw.power", {"tracelet.gpu.index": 0}, 1.0)])
    machine.points = []
    assert machine.reader.get_metrics_data() is None or not machine.collect([("hw.status", {}, 1)])[0]


@given(st.lists(st.integers(0, 2**60), min_size=1, max_size=20))
def test_what_is_sent_since_the_start_never_falls(values):
    machine = Machine()
    found = [
        machine.collect([("system.network.io", {"device": "eth0", "direction": "transmit"}, value)])[0]
        for value in values
    ]
    grown = [sum(max(b - a, 0) for a, b in itertools.pairwise(values[:n])) for n in range(1, len(values) + 1)]
    assert [one["network_transmit_megabytes"] for one in found] == pytest.approx([one * 1e-6 for one in grown])


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6)), min_size=2, max_size=10))
def test_a_share_of_time_is_between_none_and_all(steps):
    machine = Machine()
    idle = user = waiting = 0.0
    for more in steps:
        idle, user, waiting = idle + more[0], user + more[1], waiting + more[2]
        found, _ = machine.collect(
            [
                ("system.cpu.time", {"cpu": 1, "state": "idle"}, idle),
                ("system.cpu.time", {"cpu": 1, "state": "user"}, user),
                ("system.cpu.time", {"cpu": 1, "state": "iowait"}, waiting),
                ("process.thread.count", {}, 1),
            ]
        )
        share = found.get("cpu_utilization_percentage")
        assert share is None or 0 <= share <= 100
        assert "process_cpu_utilization_percentage" not in found
