"""The filesystem of the working directory, measured on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.semconv._incubating.metrics import system_metrics

from tracelet_otel.system.filesystem import observe_filesystem


def collected():
    reader = InMemoryMetricReader()
    observe_filesystem(MeterProvider([reader], shutdown_on_exit=False))
    data = reader.get_metrics_data()
    return [one for scope in data.resource_metrics[0].scope_metrics for one in scope.metrics] if data else []


def test_its_size_is_that_of_the_disk(tmp_path):
    usage, utilization = collected()
    assert (usage.name, usage.unit) == (system_metrics.SYSTEM_FILESYSTEM_USAGE, "By")
    assert (utilization.name, utilization.unit) == (system_metrics.SYSTEM_FILESYSTEM_UTILIZATION, "1")
    sizes = {point.attributes["system.filesystem.state"]: point.value for point in usage.data.data_points}
    disk = shutil.disk_usage(tmp_path)
    assert list(sizes) == ["used", "free", "reserved"]
    assert sum(sizes.values()) == disk.total
    # Others write, too.
    assert sizes["used"] == pytest.approx(disk.used, rel=0.05)
    assert sizes["free"] == pytest.approx(disk.free, rel=0.05)
    (share,) = utilization.data.data_points
    assert share.value == pytest.approx(sizes["used"] / (sizes["used"] + sizes["free"]), rel=0.05)
    mount = Path(share.attributes["system.filesystem.mountpoint"])
    assert tmp_path.is_relative_to(mount)
    assert mount.stat().st_dev == tmp_path.stat().st_dev
    assert share.attributes["system.device"]


def test_where_it_cannot_be_read_there_is_no_point(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    reader = InMemoryMetricReader()
    observe_filesystem(MeterProvider([reader], shutdown_on_exit=False))
    gone.rmdir()
    assert reader.get_metrics_data() is None
