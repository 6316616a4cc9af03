"""Two ranks, each through a collector of its own, a gateway, and a relay started by hand: one run, as without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.collector import Collector
from tests.support.mlflow_store import StoredRun, stored_run, stored_runs
from tests.support.sidecar import TOKEN, Relay
from tests.support.torchrun import ranks_of_a_node
from tests.support.waiting import wait_until

pytestmark = pytest.mark.whole


@pytest.fixture
def relay(tmp_path, database):
    relay = Relay(database, tmp_path)
    relay.start()
    yield relay
    relay.end()


@pytest.fixture
def collectors(tmp_path, relay):
    """One for each rank, behind which there is the gateway."""
    started = []

    def start(name, forward_to, **options):
        (tmp_path / name).mkdir()
        started.append(Collector(tmp_path / name, forward_to, batch_ms=50, **options))
        started[-1].start()
        return started[-1]

    gateway = start(
        "gateway", f"http://127.0.0.1:{relay.port}", headers={"Authorization": f"Bearer {TOKEN}"}, memory_limit_mib=200
    )
    yield [start(name, gateway.endpoint("http")) for name in ("one", "two")]
    for one in reversed(started):
        one.stop()


@pytest.fixture
def train(start: Callable[..., Any]) -> Callable[..., None]:
    """Trains on two ranks, as torchrun starts them, each with an environment of its own."""

    def train(cwd: Path, *environments: Mapping[str, str]) -> None:
        ranks = [
            start("train.py", cwd=cwd, **rank, **environment)
            for rank, environment in zip(ranks_of_a_node(2), environments, strict=True)
        ]
        for rank, child in enumerate(ranks):
            output, errors = child.communicate(timeout=120)
            assert child.returncode == 0, errors
            assert output.splitlines()[-1] == f"[{rank}, {{}}]"

    return train


@pytest.fixture
def without_collectors(tmp_path: Path, migrated_database: Path, train: Callable[..., None]) -> StoredRun:
    home = tmp_path / "plain"
    home.mkdir()
    (home / "mlflow.db").write_bytes(migrated_database.read_bytes())
    train(home, {}, {})
    return stored_run(home / "mlflow.db")


def ended(database):
    runs = stored_runs(database)  # once: one that begins between two looks would be in neither
    return bool(runs) and all(run.status != "RUNNING" for run in runs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "way"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", {"TRACELET_BACKEND": "otlp"}),
        # The relay's own sender, through the same collectors; each rank is told of the run.
        ("TRACELET_RELAY_ENDPOINT", {"TRACELET_RELAY_TOKEN": TOKEN, "TRACELET_RUN_ID": "run-of-both"}),
    ],
    ids=["backend otlp", "a collector as relay"],
)
def test_one_run_of_both_ranks(tmp_path, database, collectors, train, without_collectors, variable, way):
    protocol = "http" if "RELAY" in variable else "grpc"
    train(tmp_path, *({**way, variable: collector.endpoint(protocol)} for collector in collectors))
    wait_until(lambda: ended(database), 60, "the end of the run")
    found = stored_run(database)
    assert (found.name, found.status) == ("chain", "FINISHED")
    assert found.multiset == without_collectors.multiset
    assert found.params == without_collectors.params
    assert {step for name, step, _ in found.multiset if name == "most"} == set(range(20))
    times_ms = [time_ms for *_, time_ms in found.points]
    # The first request is of either rank, and the other may have begun some moments before.
    assert found.start_ms < min(times_ms) + 1_000
    assert max(times_ms) <= found.end_ms
