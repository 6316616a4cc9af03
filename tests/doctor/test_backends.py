"""What `tracelet-otel doctor` says of backends: real and stand-in servers, databases, and folders."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from importlib.metadata import entry_points

import pytest

from tests.doctor.asking import Told, doctor
from tests.doctor.distributions import install
from tests.support.failing_server import FailingServer
from tests.support.mlflow_store import stored_runs
from tests.support.otlp_receiver import GrpcReceiver, HttpReceiver
from tests.support.waiting import free_port
from tracelet_otel.doctor import report
from tracelet_otel.exporters import registry
from tracelet_otel.exporters.spec import ENTRY_POINTS


@pytest.fixture
def dead() -> str:
    """An address at which nobody listens."""
    return f"http://127.0.0.1:{free_port()}"


def told_of(backend: str, monkeypatch: pytest.MonkeyPatch) -> Told:
    """What is said where this is the backend: no problem is elsewhere."""
    monkeypatch.setenv("TRACELET_BACKEND", backend)
    told = doctor()
    assert all(title.startswith(f"backend {backend}") for title, *_ in told.mended())
    return told


def test_all_backends_at_once(monkeypatch, tmp_path, mlflow_server, wandb_server, clearml_server):
    receiver = HttpReceiver()
    monkeypatch.setenv("TRACELET_BACKEND", "mlflow,wandb,clearml,otlp")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    runs, before = len(stored_runs(mlflow_server.database)), sorted(tmp_path.rglob("*"))
    try:
        told = doctor()
    finally:
        receiver.stop()
    assert told.mended() == []
    assert told.found[f"backend mlflow at {mlflow_server.uri}"] == [
        ("ok", "a server answers"),
        (
            "ok",
            "its experiments can be listed; 'Default' is there. Writing is not tried: that would leave something",
        ),
    ]
    assert told.about("backend wandb") == [("ok", f"W&B at {wandb_server.uri} takes the API key of tester")]
    assert told.about("backend clearml") == [("ok", f"ClearML at {clearml_server.uri} takes the credentials")]
    place = f"{receiver.endpoint}/v1/metrics (http/protobuf)"
    assert told.about("backend otlp") == [("ok", f"the receiver at {place} takes OTLP")]
    # Nothing was begun, and nothing is left.
    assert len(stored_runs(mlflow_server.database)) == runs
    assert (wandb_server.runs, clearml_server.tasks, clearml_server.projects) == ({}, {}, {})
    assert receiver.metrics == []
    assert sorted(tmp_path.rglob("*")) == before
    secrets = (wandb_server.api_key, clearml_server.access_key, clearml_server.secret_key)
    assert not [secret for secret in secrets if secret in told.text]


class _AsksWho(BaseHTTPRequestHandler):
    """Stands for MLflow's server with a login, of which anybody may ask whether it is well."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else int(self.server.ill or 401))  # type: ignore[attr-defined]
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def asks_who(monkeypatch: pytest.MonkeyPatch) -> Iterator[FailingServer]:
    server = FailingServer(_AsksWho)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri.replace("://", "://ada:sesame-open@"))
    yield server
    server.stop()


@pytest.mark.parametrize("status", ["401", "403"])
def test_mlflow_with_a_bad_key(monkeypatch, asks_who, status):
    asks_who.ill = status
    told = told_of("mlflow", monkeypatch)
    [(title, text, mend)] = told.mended()
    assert (title, text) == (f"backend mlflow at {asks_who.uri}", "the server does not take the credentials")
    assert (mend.startswith("set MLFLOW_TRACKING_TOKEN, or"), "sesame" in told.text) == (True, False)


def test_what_is_no_mlflow(monkeypatch, asks_who):
    asks_who.ill = "404"
    told = told_of("mlflow", monkeypatch)
    [(_, text, mend)] = told.mended()
    assert text.startswith("its experiments cannot be listed: API request to endpoint ")
    assert mend == f"see that {asks_who.uri} is the address of an MLflow server, and look into its log"


def test_mlflow_that_cannot_be_reached(monkeypatch, dead):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dead)
    [(_, text, mend)] = told_of("mlflow", monkeypatch).mended()
    assert text == f"MLflow at {dead} cannot be reached (ConnectionError): is the server running?"
    assert mend == "start the server, or correct MLFLOW_TRACKING_URI"


def test_mlflows_database(monkeypatch, database):
    monkeypatch.setattr("tracelet_otel.exporters.mlflow.probe.PROBE_S", 0.1)
    well = "a SQLite database, which can be written; experiment 'Default' is there"
    assert told_of("mlflow", monkeypatch).about("backend") == [("ok", well)]
    monkeypatch.setenv("TRACELET_PROJECT", "new")
    [(_, text)] = told_of("mlflow", monkeypatch).about("backend")
    assert text == "a SQLite database, which can be written; experiment 'new' is made by the first run"
    monkeypatch.delenv("TRACELET_PROJECT")
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        [(_, text, mend)] = told_of("mlflow", monkeypatch).mended()
        assert text.endswith("cannot be written: database is locked")
        assert mend == "end what keeps the database for itself, or use an MLflow server"
        holder.execute("ROLLBACK")
        holder.execute("UPDATE experiments SET lifecycle_stage = 'deleted'")
    [(_, text, mend)] = told_of("mlflow", monkeypatch).mended()
    assert (text, mend.startswith("restore it with `mlflow experiments")) == ("experiment 'Default' was deleted", True)


def test_a_file_that_is_no_database_of_mlflows(monkeypatch, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        connection.execute("CREATE TABLE others (name TEXT)")
    [(_, text, _)] = told_of("mlflow", monkeypatch).mended()
    assert text == "what is there is no database of MLflow's (no such table: experiments)"
    (tmp_path / "mlflow.db").write_text("Dear diary, " * 100)
    [(_, text, _)] = told_of("mlflow", monkeypatch).mended()
    assert text.endswith("cannot be written: file is not a database")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db/below/runs.db")
    [(_, text, _)] = told_of("mlflow", monkeypatch).mended()
    assert text == "the directory of the SQLite database cannot be written: Not a directory"


def test_other_stores_of_mlflows(monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"mysql+pymysql://ada:sesame-open@{place}/runs")
        told = told_of("mlflow", monkeypatch)
    listens = f"a database listens at {place}. It is not asked more: MLflow would write to it"
    assert told.about("backend") == [("ok", listens)]
    [(_, text, _)] = told_of("mlflow", monkeypatch).mended()
    assert text == f"no database answers at {place} (ConnectionRefusedError)"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks://me")
    assert told_of("mlflow", monkeypatch).about("backend") == [
        ("note", "a store of the kind databricks is not asked before a run begins")
    ]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))
    assert told_of("mlflow", monkeypatch).about("backend") == [
        ("note", "new versions of MLflow keep no runs in a folder")
    ]
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert told_of("mlflow", monkeypatch).about("backend") == [("ok", "a folder, which can be written")]
    (tmp_path / "mlruns").touch()
    [(_, text, _)] = told_of("mlflow", monkeypatch).mended()
    assert text == "the folder cannot be written: Not a directory"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgre://host/runs")
    [(_, text, _)] = told_of("mlflow", monkeypatch).mended()
    assert text.startswith("MLflow has no kind of address postgre://, did you mean 'postgresql'?")


def test_wandb_with_a_bad_key_or_none(monkeypatch, tmp_path, wandb_server):
    monkeypatch.setenv("WANDB_API_KEY", "of-somebody-else" * 3)
    told = told_of("wandb", monkeypatch)
    refused = f"W&B at {wandb_server.uri} does not take the API key"
    assert [(text, mend[:17]) for _, text, mend in told.mended()] == [(refused, "set WANDB_API_KEY")]
    assert "somebody" not in told.text
    wandb_server.ill = "401"
    assert [text for _, text, _ in told_of("wandb", monkeypatch).mended()] == [refused]
    wandb_server.ill = None
    monkeypatch.delenv("WANDB_API_KEY")
    offline = f"there is no API key, so runs are kept in {tmp_path} for `wandb sync`"
    assert told_of("wandb", monkeypatch).about("backend") == [("note", offline)]
    monkeypatch.setenv("WANDB_MODE", "online")
    assert [text for _, text, _ in told_of("wandb", monkeypatch).mended()] == ["WANDB_MODE=online and no API key"]
    (tmp_path / "home").mkdir()
    netrc = f"machine {wandb_server.uri.removeprefix('http://')} login user password {wandb_server.api_key}\n"
    (tmp_path / "home/.netrc").write_text(netrc)
    (tmp_path / "home/.netrc").chmod(0o600)
    assert told_of("wandb", monkeypatch).mended() == []
    # Where `wandb login --host` has left the address.
    monkeypatch.delenv("WANDB_BASE_URL")
    (tmp_path / "home/.config/wandb").mkdir(parents=True)
    (tmp_path / "home/.config/wandb/settings").write_text(f"[default]\nbase_url = {wandb_server.uri}\n")
    assert told_of("wandb", monkeypatch).about("backend") == [
        ("ok", f"W&B at {wandb_server.uri} takes the API key of tester")
    ]


def test_wandb_offline_and_off(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert [level for level, _ in told_of("wandb", monkeypatch).about("backend")] == ["ok"]
    (tmp_path / "file").touch()
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "file"))
    [(_, text, mend)] = told_of("wandb", monkeypatch).mended()
    assert text == (f"{tmp_path}/file cannot be written, where W&B keeps runs until they are uploaded: Not a directory")
    assert mend == "name a directory with room as WANDB_DIR"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert [text for _, text, _ in told_of("wandb", monkeypatch).mended()] == ["WANDB_MODE=disabled turns W&B off"]


@pytest.mark.parametrize(
    ("ill", "text"),
    [("down", "W&B at {uri} cannot be reached (ConnectionError)"), ("500", "{uri} answers with HTTP status 500")],
)
def test_wandb_that_is_ill(monkeypatch, wandb_server, ill, text):
    wandb_server.ill = ill
    assert [found for _, found, _ in told_of("wandb", monkeypatch).mended()] == [text.format(uri=wandb_server.uri)]


def test_clearml_with_bad_credentials_or_none(monkeypatch, clearml_server, tmp_path):
    monkeypatch.setenv("CLEARML_API_SECRET_KEY", "of-somebody-else")
    [(_, text, mend)] = told_of("clearml", monkeypatch).mended()
    assert text == f"ClearML at {clearml_server.uri} does not take the credentials"
    assert mend.startswith("set CLEARML_API_ACCESS_KEY and CLEARML_API_SECRET_KEY, or")
    monkeypatch.delenv("CLEARML_API_SECRET_KEY")
    [(_, text, _)] = told_of("clearml", monkeypatch).mended()
    assert text == "ClearML's server is named, and there is nothing to log in with"
    monkeypatch.delenv("CLEARML_API_HOST")
    kept = f"no server is configured, so runs are kept in {tmp_path}/clearml/offline, to be imported later"
    assert told_of("clearml", monkeypatch).about("backend") == [("note", kept)]
    (tmp_path / "clearml").touch()
    [(_, text, mend)] = told_of("clearml", monkeypatch).mended()
    assert text == f"{tmp_path}/clearml/offline cannot be written, where runs are kept: Not a directory"
    assert mend == "set CLEARML_CACHE_DIR"


@pytest.mark.parametrize(
    ("ill", "text"),
    [
        ("down", "ClearML at {uri} cannot be reached (ConnectionError): is the server running?"),
        ("500", "ClearML at {uri}: The server is ill: 500 (status 500)"),
    ],
)
def test_clearml_that_is_ill(monkeypatch, clearml_server, ill, text):
    clearml_server.ill = ill
    found = [found for _, found, _ in told_of("clearml", monkeypatch).mended()]
    assert found == [text.format(uri=clearml_server.uri)]


@pytest.mark.parametrize(("kind", "protocol"), [(HttpReceiver, "http/protobuf"), (GrpcReceiver, "grpc")])
def test_receivers_of_otlp(monkeypatch, kind, protocol, dead):
    receiver = kind()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    try:
        assert told_of("otlp", monkeypatch).mended() == []
        assert receiver.metrics == []
        receiver.ill = "401"
        [(_, text, mend)] = told_of("otlp", monkeypatch).mended()
        assert (text.endswith("does not take the credentials"), "OTEL_EXPORTER_OTLP_HEADERS" in mend) == (True, True)
    finally:
        receiver.stop()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", dead)
    [(_, text, _)] = told_of("otlp", monkeypatch).mended()
    assert text.startswith(f"the receiver at {dead}")
    assert f"({protocol}) cannot be reached: " in text


def test_a_collector_beside_the_backends(monkeypatch, dead):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", dead)
    [(title, text, _)] = doctor().mended()
    assert (title, text.startswith(f"the receiver at {dead} (grpc) cannot be reached: ")) == ("collector", True)
    # Nothing is sent there.
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "tracelet")
    assert doctor().mended() == []


def test_what_does_not_take_otlp(monkeypatch, asks_who):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", asks_who.uri)
    [(_, text, mend)] = told_of("otlp", monkeypatch).mended()
    assert " does not take OTLP: HTTP status 501" in text
    assert mend == "correct OTEL_EXPORTER_OTLP_ENDPOINT"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "pigeon")
    [(_, text, _)] = told_of("otlp", monkeypatch).mended()
    assert text.startswith("OTEL_EXPORTER_OTLP_PROTOCOL: unknown value 'pigeon'")


def test_a_backend_that_hangs_keeps_nobody_waiting(monkeypatch, wandb_server, clearml_server):
    wandb_server.ill = clearml_server.ill = "hangs"
    monkeypatch.setattr("tracelet_otel.exporters.wandb.probe.PROBE_S", 0.1)
    monkeypatch.setattr(report, "_BACKEND_S", 3.0)
    monkeypatch.setenv("TRACELET_BACKEND", "wandb,clearml")
    text, mend = "clearml has not answered within 3 s", "see whether the network or the server is slow"
    assert doctor().mended() == [
        (
            f"backend wandb at {wandb_server.uri}",
            f"W&B at {wandb_server.uri} cannot be reached (ReadTimeout)",
            "see that there is a network, and that WANDB_BASE_URL is right; WANDB_MODE=offline keeps runs in a folder",
        ),
        ("backend clearml", text, mend),
    ]


TRACKER = """
from tracelet_otel.exporters.spec import Finding, Level, TrackerSpec

def probe(settings, options):
    return [Finding(Level.PROBLEM, f"no room for {settings.project}", "make some")]

WITH = TrackerSpec("with", tracker="csv_tracker:Tracker", probe="csv_tracker:probe")
WITHOUT = TrackerSpec("without", tracker="csv_tracker:Tracker")
"""


def test_trackers_of_others(monkeypatch, tmp_path):
    entries = "[tracelet_otel.trackers]\nwith = csv_tracker:WITH\nwithout = csv_tracker:WITHOUT\n"
    install(monkeypatch, tmp_path, "csv-tracker", "1.0", entries)
    (tmp_path / "packages/csv_tracker.py").write_text(TRACKER)
    known = {**registry._found(), **{one.name: one for one in entry_points(group=ENTRY_POINTS, module="csv_tracker")}}
    monkeypatch.setattr(registry, "_found", lambda: known)
    assert told_of("with", monkeypatch).mended() == [("backend with", "no room for Default", "make some")]
    assert told_of("without", monkeypatch).about("backend") == [
        ("note", "its tracker cannot be asked before a run begins")
    ]


def test_a_backend_that_nobody_knows(monkeypatch):
    [(title, text, _)] = told_of("wandbb", monkeypatch).mended()
    assert (title, text.startswith("unknown backend 'wandbb', did you mean 'wandb'?")) == ("backend wandbb", True)
