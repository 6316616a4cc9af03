from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.gpu.stand_in import StandIn, build, machine
from tests.prometheus.stack import CONFIG, Prometheus
from tests.relay.simulated import Rank
from tests.support.shipped import ShippedCollector
from tests.support.sidecar import TOKEN, Relay
from tests.support.torchrun import ranks_of_a_node
from tests.support.waiting import wait_until
from tests.support.warm import WarmProcess
from tracelet_otel.session.calls import Address, HttpConnection

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).with_name("scripts")
OURS = ("TRACELET_", "OTEL_", "MLFLOW_", "WANDB_", "CLEARML_")


@dataclass(frozen=True)
class Chain:
    """The collector and Prometheus as they are shipped."""

    home: Path
    collector: ShippedCollector
    prometheus: Prometheus
    warm_server: Callable[[], str]

    def start(self, script: str | Path, *arguments: object, **environment: str) -> WarmProcess:
        """A training that sends to the collector: a script of `scripts`, or a path. What it says is in `said`."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        with (self.home / "said").open("ab") as said:
            return WarmProcess(
                self.warm_server(),
                [str(SCRIPTS / script), *map(str, arguments)],
                cwd=self.home,
                env={
                    **plain,
                    "HOME": str(self.home),
                    "PYTHONPATH": str(ROOT),
                    "TRACELET_JOURNAL_DIR": str(self.home / "journals"),
                    "OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.endpoint,
                    **environment,
                },
                stdout=said,
                stderr=said,
            )

    def wait_for(self, promql: str, timeout_s: float = 60) -> None:
        """Until a query has a result."""
        wait_until(lambda: bool(self.prometheus.query(promql)), timeout_s, promql)

    @property
    def said(self) -> str:
        return (self.home / "said").read_text()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in for NVML, compiled."""
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="session")
def make_chain(
    tmp_path_factory: pytest.TempPathFactory, warm_server: Callable[[], str]
) -> Iterator[Callable[..., Chain]]:
    """Starts chains; options are those of `Prometheus`."""
    started: list[Prometheus | ShippedCollector] = []

    def make(config: Path = CONFIG, **options: str) -> Chain:
        home = tmp_path_factory.mktemp("chain")
        prometheus = Prometheus(home, config, **options)
        prometheus.start()
        started.append(prometheus)
        collector = ShippedCollector(home, "collector.yaml", PROMETHEUS_OTLP_ENDPOINT=prometheus.otlp_endpoint)
        collector.start()
        started.append(collector)
        return Chain(home, collector, prometheus, warm_server)

    yield make
    for one in reversed(started):
        one.stop()


@pytest.fixture(scope="session")
def chain(make_chain: Callable[..., Chain]) -> Chain:
    """One for all tests that change nothing of it."""
    return make_chain()


@dataclass(frozen=True)
class Trained:
    """A run of two ranks that has ended."""

    chain: Chain
    run: str
    began: float
    alive: float
    """A moment before its end, when all of it was there."""
    ended: float
    """When its process had ended."""

    @property
    def prometheus(self) -> Prometheus:
        return self.chain.prometheus


@pytest.fixture(scope="session")
def relay(chain: Chain, migrated_database: Path) -> Iterator[Relay]:
    """A relay that sends its own metrics to the collector, and has delivered a value."""
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": chain.collector.endpoint, "TRACELET_METRICS_INTERVAL": "1"}
    database = Path(shutil.copy(migrated_database, chain.home / "mlflow.db"))
    relay = Relay(database, chain.home, warm_server=chain.warm_server, environment=told)
    relay.start()
    rank = Rank(0, world_size=1)
    rank.record(0, loss=0.5)
    with HttpConnection() as connection:
        address = Address(f"http://127.0.0.1:{relay.port}", TOKEN)
        assert connection.post(address, rank.request().SerializeToString()).status == HTTPStatus.OK
    chain.wait_for("tracelet_relay_readings_total == 1 and on (instance) tracelet_relay_delivery_pending == 0")
    yield relay
    relay.end()


@pytest.fixture(scope="session")
def trained(chain: Chain, library: Path, relay: Relay) -> Trained:
    """Two ranks with two GPUs, long enough for an alert, beside a run that has failed, and a relay."""
    began = time.time() - 5  # a range of whole seconds has all of it
    assert chain.start("failing.py").wait(60) == 0, chain.said
    nvml = StandIn(library, chain.home / "nvml.txt")
    nvml.plays(machine(2))
    ranks = [chain.start("training.py", **nvml.environment, **rank) for rank in ranks_of_a_node(2)]
    try:
        chain.wait_for('ALERTS{alertname="TraceletLossNotFinite"}')
        chain.wait_for('count(tracelet_trainer_epoch{tracelet_rank="1"} > 1)')
        # A subquery looks at whole multiples of its step only, so a value younger than that has no result yet.
        chain.wait_for('count_over_time({tracelet_run_name="two ranks", tracelet_metric_name="val/loss"}[1h:10s])')
        chain.wait_for('count_over_time(tracelet_run_verdict_ratio{tracelet_run_name="two ranks"}[1h:15s])')
        alive = time.time()
        (chain.home / "enough").touch()
        assert [rank.wait(60) for rank in ranks] == [0, 0], chain.said
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    ended = time.time()
    chain.wait_for("tracelet_run_ended_ratio{tracelet_run_name='two ranks'} == 1")
    [[labels, _]] = chain.prometheus.query("count by (tracelet_run_id) (train_loss)")
    return Trained(chain, labels["tracelet_run_id"], began, alive, ended)
