"""Stock collectors before a relay of many runs, with the files that are shipped for that."""

from __future__ import annotations

import itertools
import re
import subprocess

import grpc
import pytest
import yaml
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub

from tests.relay.simulated import Rank
from tests.support.certificates import make_certificates
from tests.support.collector import tool
from tests.support.mlflow_store import multiset, stored_runs
from tests.support.shipped import SHIPPED, ShippedCollector
from tests.support.sidecar import TOKEN, Relay
from tests.support.waiting import wait_until
from tracelet_otel import semconv
from tracelet_otel.protocol.messages import MAX_BODY_BYTES
from tracelet_otel.session.calls import Address, HttpConnection

FILES = {
    "node-to-relay.yaml": set(),
    "beside-relay.yaml": set(),
    "runs-to-relays.yaml": {"loadbalancing"},
    "runs-to-kafka.yaml": {"transform", "kafka"},
    "kafka-to-relay.yaml": {"file_storage", "kafka", "resource"},
}
"""Each file, and the parts in it that only the contrib distribution has."""
BEFORE_A_RELAY = [name for name in FILES if name.endswith("-relay.yaml")]
KINDS = ("extensions", "receivers", "processors", "exporters")
QUICK = {f"exporters.otlp_http.retry_on_failure.{name}_interval": "200ms" for name in ("initial", "max")}
"""What the file says for hours is for seconds here."""
DIVIDED = {f"exporters.otlp_http.sending_queue.batch.{name}_size": 10_000 for name in ("min", "max")}
"""Requests of at most so many bytes, so that what nodes send is divided, as what has waited for long is."""
RUNS = ("one", "two")
STEPS = 30


def shipped(file):
    return yaml.safe_load((SHIPPED / file).read_text())


def parts(config):
    """Names of the parts that a file configures."""
    return {name for kind in KINDS for name in config.get(kind, {})}


def in_core(config, foreign):
    """A file without the parts that only the contrib distribution has, but with what in them is the collector's own."""
    found = {kind: {name: one for name, one in config.get(kind, {}).items() if name not in foreign} for kind in KINDS}
    exporters = config["exporters"]
    if "loadbalancing" in foreign:
        found["exporters"]["otlp_grpc"] = {"endpoint": "127.0.0.1:1", **exporters["loadbalancing"]["protocol"]["otlp"]}
    elif "kafka" in exporters:
        own = {name: exporters["kafka"][name] for name in ("retry_on_failure", "sending_queue")}
        found["exporters"]["otlp_http"] = {"endpoint": "http://127.0.0.1:1", **own}
    found["receivers"] = found["receivers"] or {"nop": {}}
    pipeline = {kind: list(found[kind]) for kind in KINDS[1:]}
    return {**found, "service": {"telemetry": config["service"]["telemetry"], "pipelines": {"metrics": pipeline}}}


def validated(*files):
    """What the real collector says of its files."""
    command = [tool("otelcol"), "validate", *(f"--config={file}" for file in files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def unknown_to_core(*files):
    """The parts that the collector does not know."""
    return set(re.findall(r'unknown type: "(\w+)"', validated(*files).stderr))


class TestFiles:
    @pytest.mark.parametrize(("file", "foreign"), FILES.items(), ids=FILES)
    def test_the_collector_accepts_all_that_it_knows(self, file, foreign, tmp_path):
        """Of what only the contrib distribution has, this holds that it is named, and nothing more."""
        assert unknown_to_core(SHIPPED / file) == foreign
        assert foreign <= parts(shipped(file))
        rest = tmp_path / "rest.yaml"
        rest.write_text(yaml.safe_dump(in_core(shipped(file), foreign)))
        checked = validated(rest)
        assert checked.returncode == 0, checked.stderr

    @pytest.mark.parametrize("file", ["node-to-relay.yaml", "beside-relay.yaml"])
    def test_a_queue_on_the_disk_is_one_file_more(self, file):
        assert unknown_to_core(SHIPPED / file, SHIPPED / "persistent-queue.yaml") == {"file_storage"}
        assert parts(shipped("persistent-queue.yaml")) - {"file_storage"} <= parts(shipped(file))

    @pytest.mark.parametrize("file", FILES)
    def test_what_differs_between_places_is_a_variable(self, file):
        text = (SHIPPED / file).read_text()
        for value in re.findall(r"\$\{env:([^}]*)\}", text):
            assert ":-" in value or value == "TRACELET_RELAY_TOKEN"
        endpoints = re.findall(
            r"^\s+(?:endpoint|hostnames|brokers|topics|\w+_file|directory): (.*)", text, re.MULTILINE
        )
        assert all(endpoint.startswith("${env:") for endpoint in endpoints)

    @pytest.mark.parametrize("file", BEFORE_A_RELAY)
    def test_no_request_is_larger_than_a_relay_takes(self, file):
        queue = shipped(file)["exporters"]["otlp_http"]["sending_queue"]
        assert queue["batch"]["sizer"] == queue["sizer"] == "bytes"
        assert queue["batch"]["max_size"] < MAX_BODY_BYTES

    def test_runs_are_told_apart_by_their_id(self):
        balancer = shipped("runs-to-relays.yaml")["exporters"]["loadbalancing"]
        assert (balancer["routing_key"], balancer["routing_attributes"]) == ("attributes", [semconv.RUN_ID])
        [statement] = shipped("runs-to-kafka.yaml")["processors"]["transform"]["metric_statements"]
        assert statement.count(f'resource.attributes["{semconv.RUN_ID}"]') == 2


class Nodes:
    """Two nodes with a collector each, and the ranks of all runs on them: even ones on the first."""

    def __init__(self, collectors):
        self._collectors = collectors
        self.ranks = {
            run: [Rank(number, owns_run=number == 0, run_id=run, world_size=4) for number in range(4)] for run in RUNS
        }
        for rank in itertools.chain.from_iterable(self.ranks.values()):
            rank.train()

    def send(self, first, last):
        """Log steps on every rank and send them: by HTTP on the first node, by gRPC on the second."""
        for number in range(4):
            for run, ranks in self.ranks.items():
                for step in range(first, last):
                    ranks[number].record(step, loss=float(step + number), **{f"of {run}": float(step * number)})
                self._post(number % 2, ranks[number].request())

    def end(self):
        for rank in itertools.chain.from_iterable(self.ranks.values()):
            rank.end()
        self.send(STEPS, STEPS)

    def _post(self, node, request):
        collector = self._collectors[node]
        if node:
            with grpc.insecure_channel(f"127.0.0.1:{collector.grpc}") as channel:
                MetricsServiceStub(channel).Export(request, timeout=10)
        else:
            with HttpConnection() as connection:
                address = Address(f"http://127.0.0.1:{collector.http}", "")
                assert connection.post(address, request.SerializeToString()).status == 200


def expected(run):
    means = [("loss", step, step + 1.5) for step in range(STEPS)]
    return multiset([*means, *((f"of {run}", step, step * 1.5) for step in range(STEPS))])


def found(relay):
    return {one.tags[semconv.RUN_ID]: (one.status, one.multiset) for one in stored_runs(relay.database)}


@pytest.fixture
def relay(tmp_path, database, warm_server):
    relay = Relay(database, tmp_path, warm_server=warm_server)
    yield relay
    if relay.process is not None:
        relay.end()


@pytest.fixture
def start(tmp_path):
    """Starts collectors."""
    started = []

    def start(name, file, settings=None, **variables):
        (tmp_path / name).mkdir()
        started.append(ShippedCollector(tmp_path / name, file, settings or {}, **variables))
        started[-1].start()
        return started[-1]

    yield start
    for one in reversed(started):
        one.stop()


@pytest.fixture(params=["nodes", "balancers"])
def nodes(request, tmp_path, relay, start):
    """Two nodes whose collectors lead to the relay, which is not up yet."""
    to_relay = {"TRACELET_RELAY_ENDPOINT": f"http://127.0.0.1:{relay.port}", "TRACELET_RELAY_TOKEN": TOKEN}
    if request.param == "nodes":
        settings = {**QUICK, **DIVIDED}
        return Nodes([start(name, "node-to-relay.yaml", settings, **to_relay) for name in ("node 0", "node 1")])
    made = make_certificates(tmp_path)
    tls = {
        "TRACELET_TLS_CA": str(made.authority),
        "TRACELET_TLS_CERT": str(made.server),
        "TRACELET_TLS_KEY": str(made.server_key),
    }
    beside = start("beside", "beside-relay.yaml", QUICK, **to_relay, **tls)
    # The balancer's exporter to its one relay, in place of the balancer.
    config = in_core(shipped("runs-to-relays.yaml"), {"loadbalancing"})
    config["exporters"]["otlp_grpc"]["endpoint"] = f"127.0.0.1:{beside.grpc}"
    balancer = tmp_path / "balancer.yaml"
    balancer.write_text(yaml.safe_dump(config))
    return Nodes([start(name, balancer, **tls) for name in ("node 0", "node 1")])


@pytest.mark.slow
def test_every_mean_of_every_run_once(nodes, relay):
    """Ranks on two nodes, two runs, a relay that comes later and one that is killed and started again."""
    nodes.send(0, 10)
    relay.start()
    wait_until(lambda: found(relay).keys() == set(RUNS), 30, "what waited for the relay")
    relay.end(9)
    nodes.send(10, 20)
    relay.start()
    nodes.send(20, STEPS)
    whole = {run: expected(run) for run in RUNS}
    wait_until(lambda: {run: points for run, (_, points) in found(relay).items()} == whole, 60, "every mean, once")
    nodes.end()
    wait_until(lambda: {status for status, _ in found(relay).values()} == {"FINISHED"}, 60, "the end of both runs")
    assert found(relay) == {run: ("FINISHED", points) for run, points in whole.items()}
