"""Trainings that join a relay which somebody else started."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess as PartialSuccess,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

import tracelet_otel as tracelet
from tests.relay.simulated import Rank
from tests.support.mlflow_files import mlflow_files
from tests.support.mlflow_store import multiset, stored_runs
from tests.support.sidecar import TOKEN, Relay
from tests.support.waiting import wait_until
from tracelet_otel.cli import main
from tracelet_otel.protocol.requests import count_points
from tracelet_otel.relay.run import RelayedRun
from tracelet_otel.relay.sidecar import Sidecar
from tracelet_otel.relay.taking import take
from tracelet_otel.relay.uploads import Uploads
from tracelet_otel.session.calls import Address, HttpConnection, fetch_status
from tracelet_otel.settings import load


def ended(relay: Relay) -> None:
    tracelet.stop_logging()
    if relay.process is not None and relay.process.poll() is None:
        relay.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def relay(
    tmp_path_factory: pytest.TempPathFactory, migrated_database: Path, warm_server: Callable[[], str]
) -> Iterator[Relay]:
    """One for all tests that are not about its life."""
    home = tmp_path_factory.mktemp("relay")
    relay = Relay(shutil.copy(migrated_database, home / "mlflow.db"), home, warm_server=warm_server)
    relay.start()
    yield relay
    relay.end()


@pytest.fixture
def own_relay(tmp_path: Path, database: Path, warm_server: Callable[[], str]) -> Iterator[Relay]:
    """One that a test may end."""
    relay = Relay(database, tmp_path, warm_server=warm_server)
    relay.start()
    yield relay
    ended(relay)


@pytest.fixture
def command(tmp_path: Path, database: Path) -> Iterator[Relay]:
    """One that is started as people start it."""
    relay = Relay(database, tmp_path)
    relay.start()
    yield relay
    ended(relay)


def stored(relay: Relay, name: str = "joined"):
    (found,) = [run for run in stored_runs(relay.database) if run.name == name]
    return found


def rows(first: int, last: int):
    return [("loss", step, step / 2) for step in range(first, last)]


def log(run, first: int, last: int) -> None:
    for name, step, value in rows(first, last):
        run.log_metric(name, value, step)


@pytest.mark.cold
def test_several_runs_at_once(command, run, tmp_path):
    with command.join("here") as here:
        log(here, 0, 100)
        child = run("joins.py", json.dumps(command.config()), 100)
        assert child.returncode == 0, child.stderr
        log(here, 100, 200)
    assert stored(command, "here").multiset == multiset(rows(0, 200))
    there = stored(command, "there")
    assert there.multiset == multiset(("loss", step, float(-step)) for step in range(100))
    assert there.params["lr"] == "0.5"
    described = ("stage", "team", "tracelet.run.group", "tracelet.run.job_type")
    assert [there.tags[name] for name in described] == ["ends", "vision", "guests", "log"]
    assert there.note == "joins"
    assert {stored(command, "here").status, there.status} == {"FINISHED"}
    assert here.urls == {"mlflow": f"sqlite:///{command.database}"}
    assert here.accounts["mlflow"].delivered == 200
    assert here.errors == {}
    assert command.end() == 0
    assert not list(tmp_path.rglob("*.journal"))


def test_the_outcome_of_a_training_that_fails(relay):
    run = relay.join("fails")
    log(run, 0, 10)
    with pytest.raises(ZeroDivisionError), run:
        raise ZeroDivisionError
    assert stored(relay, "fails").status == "FAILED"


def test_a_run_of_which_a_collector_says_no_start_began_before_its_first_value(relay):
    address = Address(f"http://127.0.0.1:{relay.port}", TOKEN)
    rank = Rank(0, owns_run=True, run_id="late-news")
    rank.record(0, a=1.0)
    began_ms = 10  # the first row of a simulated rank
    with HttpConnection() as connection:
        connection.post(address, rank.request().SerializeToString())
        rank.signals.outcome.settle("finished", None)
        rank.signals.outcome.end()
        connection.post(address, rank.request().SerializeToString())
    over = ("relayed", "FINISHED")
    wait_until(lambda: over in [(run.name, run.status) for run in stored_runs(relay.database)], 30, "the end")
    found = stored(relay, "relayed")
    assert (found.start_ms, [time_ms for *_, time_ms in found.points]) == (began_ms, [10])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_relay_that_is_started_again_goes_on(own_relay, number):
    run = own_relay.join(stop_timeout=60)
    log(run, 0, 100)
    wait_until(lambda: run.accounts["mlflow"].delivered == 100, 30, "the first rows")
    ending = threading.Thread(target=own_relay.end, args=(number,))
    ending.start()
    if number == signal.SIGKILL:
        ending.join()
        log(run, 100, 200)
        own_relay.start()
        run.stop()
    else:
        log(run, 100, 200)
        run.stop()
        ending.join()
    assert stored(own_relay).multiset == multiset(rows(0, 200))
    assert stored(own_relay).status == "FINISHED"


def test_a_run_whose_data_is_refused_takes_no_other_with_it(relay):
    """A collector sends the data of many runs in one request."""
    address = Address(f"http://127.0.0.1:{relay.port}", TOKEN)

    def send(*requests: ExportMetricsServiceRequest) -> PartialSuccess:
        together = ExportMetricsServiceRequest()
        for request in requests:
            together.resource_metrics.extend(request.resource_metrics)
        with HttpConnection() as connection:
            answer = connection.post(address, together.SerializeToString())
        assert answer.status == 200, answer.data
        return ExportMetricsServiceResponse.FromString(answer.data).partial_success

    over, late = Rank(0, owns_run=True, run_id="over"), Rank(1, run_id="over")
    for rank in (over, late):
        rank.record(0, a=1.0)
    over.signals.outcome.settle(None, None)
    over.signals.outcome.end()
    send(over.request())
    wait_until(lambda: (status := fetch_status(address, "over")) is not None and status.over, 60, "the first run's end")
    good, bad = Rank(0, owns_run=True, run_id="good"), Rank(0, run_id="no id!")
    for rank in (good, bad):
        rank.record(0, a=2.0)
    good.signals.outcome.settle(None, None)
    good.signals.outcome.end()
    refused = [late.request(), bad.request()]
    answer = send(refused[0], good.request(), refused[1])
    assert answer.rejected_data_points == sum(count_points(one.resource_metrics) for one in refused)
    assert "run over: rank 0 has ended the run" in answer.error_message
    assert "run no id!: tracelet.run.id has to be" in answer.error_message
    wait_until(lambda: (status := fetch_status(address, "good")) is not None and status.complete, 60, "the other's end")
    (run,) = [one for one in stored_runs(relay.database) if one.tags["tracelet.run.id"] == "good"]
    assert run.multiset == multiset([("a", 0, 2.0)])


@contextmanager
def in_process(tmp_path: Path, database: Path, **options: float) -> Iterator[tuple[Sidecar, Relay]]:
    """A sidecar on a thread of this process, until the end of the block."""
    settings = load({"backend_url": f"sqlite:///{database}"}, {"relay_bind": "127.0.0.1:0"})
    sidecar, finish = Sidecar(settings, TOKEN, **options), threading.Event()
    serving = threading.Thread(target=sidecar.serve, args=(finish,))
    serving.start()
    try:
        yield sidecar, Relay(database, tmp_path, sidecar.port)
    finally:
        finish.set()
        serving.join(60)
    assert not serving.is_alive()


def test_a_run_that_breaks_takes_no_other_with_it(tmp_path, database, monkeypatch, caplog):
    look = RelayedRun.look

    def breaks(run: RelayedRun) -> None:
        if Path(run.status.journal).stem == "broken":
            raise KeyError("a bug")
        look(run)

    monkeypatch.setattr(RelayedRun, "look", breaks)
    with in_process(tmp_path, database) as (sidecar, relay):
        broken = Rank(0, owns_run=True, run_id="broken")
        broken.record(0, a=1.0)
        take([broken.request()], sidecar.accept)
        wait_until(lambda: "run broken could not be looked after" in caplog.text, 30, "the bug's report")
        run = relay.join()
        log(run, 0, 50)
        run.stop()
        wait_until(lambda: stored(relay).status == "FINISHED", 30, "the end of the run")
        assert stored(relay).multiset == multiset(rows(0, 50))


def test_a_silent_run_is_closed_as_killed_and_goes_on_when_its_process_comes_back(tmp_path, database):
    with in_process(tmp_path, database, idle_s=1.0) as (sidecar, relay):
        # Exports that are far apart are what a process that sleeps looks like.
        run = relay.join(export_interval=1000)
        log(run, 0, 50)
        run._readers[0].collect()
        wait_until(lambda: stored(relay).status == "KILLED", 30, "the end of a silent run")
        log(run, 50, 100)
        run.stop()
        assert stored(relay).multiset == multiset(rows(0, 100))
        wait_until(lambda: stored(relay).status == "FINISHED", 30, "the end of the run")
        counted = sidecar._meter.read().runs
        assert (counted.readings, counted.trackers["mlflow"].pending) == (100, 0), "the run counts before and after"
    assert not list(tmp_path.rglob("*.journal"))


def test_a_run_ends_once_its_files_have_been_sent(tmp_path, database, monkeypatch):
    take = Uploads.take

    async def slowly(uploads: Uploads, path: str, parts: AsyncIterator[bytes]) -> None:
        # The metrics of some seconds come first. The relay would close the run if they said that it has ended.
        until = answered(sidecar) + 30
        while answered(sidecar) < until:
            await asyncio.sleep(0.05)
        await take(uploads, path, parts)

    monkeypatch.setattr(Uploads, "take", slowly)
    with in_process(tmp_path, database) as (sidecar, relay):
        run = relay.join()
        run.log_metric("loss", 1.0, 1)
        run.log_text("a", "text")
        run.stop()
        assert run.errors == {}
    assert mlflow_files(f"sqlite:///{database}", database, run.id).files == {"a.txt": b"text"}


def answered(sidecar: Sidecar) -> int:
    return sum(sidecar._meter._requests.values())


def test_files_of_a_run_that_was_closed_as_killed_are_sent_again(tmp_path, database):
    with in_process(tmp_path, database, idle_s=1.0) as (sidecar, relay):
        run = relay.join(export_interval=1000)
        log(run, 0, 50)
        run._readers[0].collect()
        (kept,) = sidecar.kept
        wait_until(lambda: kept.run.is_over, 30, "the end of a silent run")
        assert stored(relay).status == "KILLED"
        run.log_text("a", "text")
        wait_until(lambda: run.errors, 30, "an attempt to send it")
        log(run, 50, 100)
        run.stop()
        # Values may come while the run is still being closed, too.
        kept = {
            f"{what} are kept and sent again"
            for what in ("relay takes no files; they", "the relay takes nothing; values")
        }
        assert run.errors
        assert run.errors.keys() <= kept
    assert stored(relay).status == "FINISHED"
    assert mlflow_files(f"sqlite:///{database}", database, run.id).files == {"a.txt": b"text"}


def console(database: Path, run_id: str) -> dict[int, list[str]]:
    return mlflow_files(f"sqlite:///{database}", database, run_id).console


def test_the_console_of_a_run_that_goes_on_has_what_was_printed_before(tmp_path, database):
    with in_process(tmp_path, database, idle_s=1.0) as (_, relay):
        run = relay.join(export_interval=1000, console=True)
        os.write(1, b"first\n")

        def is_there() -> bool:
            # What comes keeps the run open.
            run._readers[0].collect()
            return console(database, run.id) == {0: ["first"]}

        wait_until(is_there, 30, "the first line")
        wait_until(lambda: stored(relay).status == "KILLED", 30, "the end of a silent run")
        spool = tmp_path / "journals" / "sidecar" / f"{run.id}.files"
        assert spool.exists()
        os.write(1, b"second\n")
        log(run, 0, 50)
        run.stop()
    assert console(database, run.id) == {0: ["first", "second"]}
    assert not spool.exists()


class TestBadInput:
    def test_no_token(self, monkeypatch):
        with pytest.raises(tracelet.ConfigurationError, match="relay_endpoint needs relay_token: give the relay's"):
            tracelet.start_logging(config={"relay_endpoint": "http://127.0.0.1:1"})
        monkeypatch.delenv("TRACELET_RELAY_TOKEN", raising=False)
        result = CliRunner().invoke(main, ["relay"])
        assert result.exit_code == 1
        assert "give the token that requests have to bear as TRACELET_RELAY_TOKEN" in result.output

    @pytest.mark.parametrize(
        "endpoint", ["127.0.0.1:1", "ftp://relay", "http://me:sEcReT@relay:1", "http://relay/path"]
    )
    def test_an_endpoint_that_is_none(self, endpoint):
        with pytest.raises(
            tracelet.ConfigurationError, match=r"relay_endpoint \(or TRACELET_RELAY_ENDPOINT\)"
        ) as raised:
            tracelet.start_logging(config={"relay_endpoint": endpoint, "relay_token": TOKEN})
        assert "sEcReT" not in str(raised.value)

    def test_a_token_that_is_short_is_not_shown(self):
        with pytest.raises(tracelet.ConfigurationError, match="relay_token") as raised:
            tracelet.start_logging(config={"relay_endpoint": "http://relay", "relay_token": "sEcReT"})
        assert "sEcReT" not in str(raised.value)

    @pytest.mark.parametrize("token", ["sEcReT-sEcReT-sEcReT\n", "sEcReT sEcReT sEcReT", "sEcReT-sEcReT-sEcRéT"])
    def test_a_token_that_no_header_can_have_is_not_shown(self, token):
        with pytest.raises(tracelet.ConfigurationError, match=r"relay_token .*the end of a line behind it") as raised:
            tracelet.start_logging(config={"relay_endpoint": "http://relay", "relay_token": token})
        assert "sEcR" not in str(raised.value)

    def test_a_relay_and_none(self):
        with pytest.raises(tracelet.ConfigurationError, match="relay_endpoint joins a relay, relay=False uses none"):
            tracelet.start_logging(config={"relay_endpoint": "http://r", "relay_token": TOKEN, "relay": False})

    def test_nobody_there(self):
        began = time.monotonic()
        with pytest.raises(
            tracelet.TrackerError, match=r"no relay at http://127.0.0.1:\d+ within 1 s \(NewConnectionError"
        ):
            Relay(Path(), Path()).join(start_timeout=1)
        assert time.monotonic() - began < 10
        assert tracelet.get_active_run() is None

    def test_another_token(self, relay):
        with pytest.raises(tracelet.ConfigurationError, match="refuses the token: TRACELET_RELAY_TOKEN has to be"):
            relay.join("refused", relay_token="another-token-of-some-length")
        assert "refused" not in {run.name for run in stored_runs(relay.database)}

    def test_something_that_is_no_relay(self, mlflow_server):
        port = int(mlflow_server.uri.rpartition(":")[2])
        with pytest.raises(tracelet.ConfigurationError, match=r"is no relay of ours: it answers 4\d\d"):
            Relay(Path(), Path(), port).join()

    def test_a_run_of_mlflow(self, relay, monkeypatch):
        monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
        with pytest.raises(tracelet.ConfigurationError, match="MLFLOW_RUN_ID names a run of mlflow"):
            relay.join()

    def test_a_port_that_is_taken(self, relay, monkeypatch):
        monkeypatch.setenv("TRACELET_RELAY_TOKEN", TOKEN)
        result = CliRunner().invoke(main, ["relay", "--bind", f"127.0.0.1:{relay.port}"])
        assert result.exit_code == 1
        assert re.search("[Aa]ddress already in use", result.output)

    def test_a_backend_that_is_down(self, own_relay, database):
        database.write_bytes(b"no database")
        with pytest.raises(tracelet.TrackerError):
            own_relay.join(start_timeout=3)
