"""The programs accept what is shipped, and the files fit each other."""

from __future__ import annotations

import subprocess

import pytest
import yaml

from tests.prometheus.dashboard import FILES, load
from tests.prometheus.stack import CONFIG, RULES
from tests.support.collector import tool
from tests.support.shipped import SHIPPED

COMPOSE = yaml.safe_load((SHIPPED / "compose.yaml").read_text())
PROVISIONING = SHIPPED / "grafana" / "provisioning"


def accepts(name, *arguments):
    checked = subprocess.run([tool(name), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("file", ["collector.yaml", "agent.yaml", "gateway.yaml"])
def test_the_collector_accepts_its_files(file):
    accepts("otelcol", "validate", "--config", SHIPPED / file)


def test_prometheus_accepts_its_files():
    accepts("promtool", "check", "config", CONFIG)
    accepts("promtool", "check", "rules", RULES)


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_compose_mounts_what_is_shipped_and_pins_versions(service):
    composed = COMPOSE["services"][service]
    _, _, version = composed["image"].rpartition(":")
    assert version.lstrip("v").replace(".", "").isdigit()
    for volume in composed["volumes"]:
        source = volume.partition(":")[0]
        assert source in COMPOSE["volumes"] or (SHIPPED / source).exists()
    for port in composed["ports"]:
        assert port.startswith("127.0.0.1:")


def test_compose_names_variables_that_the_collector_reads():
    text = (SHIPPED / "collector.yaml").read_text()
    for name in COMPOSE["services"]["collector"]["environment"]:
        assert f"${{env:{name}:-" in text


def test_the_versions_are_those_that_were_tested():
    for service, name in (("collector", "otelcol"), ("prometheus", "prometheus")):
        said = subprocess.run([tool(name), "--version"], capture_output=True, text=True, check=True).stdout
        assert COMPOSE["services"][service]["image"].rpartition(":")[2].lstrip("v") in said


def test_grafana_finds_data_source_and_dashboards():
    [source] = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((PROVISIONING / "dashboards" / "tracelet.yaml").read_text())["providers"]
    mounted = dict(volume.split(":")[:2] for volume in COMPOSE["services"]["grafana"]["volumes"])
    assert provider["options"]["path"] == mounted["./grafana/dashboards"]
    assert mounted["./grafana/provisioning"] == "/etc/grafana/provisioning"
    uids = [load(path)["uid"] for path in FILES]
    assert len(set(uids)) == len(uids)
    assert "/d/tracelet-run?" in FILES[0].read_text()
    assert "tracelet-run" in uids
