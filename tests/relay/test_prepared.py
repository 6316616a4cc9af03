"""A relay that is started ahead of its run."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import psutil
import pytest

import tracelet_otel as tracelet
from tests.support.mlflow_store import stored_run
from tests.support.relays import relays
from tests.support.waiting import free_port, wait_until
from tracelet_otel.api import active
from tracelet_otel.exporters.mlflow.options import MlflowOptions
from tracelet_otel.session import ahead


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    ahead.discard()


def prepared(tmp_path: Path) -> psutil.Process:
    """The relay that waits, once it is one: it changes its directory first."""
    wait_until(lambda: len(relays(tmp_path)) == 1, 30, "one relay")
    return relays(tmp_path)[0]


def is_untouched(tmp_path: Path) -> bool:
    return not relays(tmp_path) and not list((tmp_path / "journals").iterdir())


def test_a_run_takes_the_relay_that_was_prepared(tmp_path, database):
    tracelet.prepare_logging("mlflow")
    tracelet.prepare_logging("mlflow")
    relay = prepared(tmp_path)
    with tracelet.start_logging("prepared", backend="mlflow") as run:
        assert run._role.connection.pid == relay.pid
        run.log_metric("loss", 0.5, 1)
        assert relays(tmp_path) == [relay]
    assert stored_run(database).status == "FINISHED"
    wait_until(lambda: is_untouched(tmp_path), 30, "the relay's end")


def test_what_has_changed_meanwhile_holds_for_the_relay(monkeypatch):
    address = f"http://nobody.invalid:{free_port()}"
    tracelet.prepare_logging(backend_url=address)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(tracelet.TrackerError, match=r"cannot be reached \(ProxyError\)"):
        tracelet.start_logging(backend_url=address)


@pytest.mark.parametrize("change", ["variable", "backend", "dead"])
def test_a_relay_that_is_not_as_a_new_one_is_not_taken(tmp_path, database, monkeypatch, change):
    tracelet.prepare_logging("clearml" if change == "backend" else "mlflow")
    waiting = prepared(tmp_path)
    if change == "variable":
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    if change == "dead":
        waiting.kill()
        wait_until(lambda: not relays(tmp_path), 30, "its end")
    with tracelet.start_logging("another", backend="mlflow") as run:
        run.log_metric("loss", 0.5, 1)
        assert [one.pid for one in relays(tmp_path)] == [run._role.connection.pid] != [waiting.pid]
    assert stored_run(database).status == "FINISHED"


@pytest.mark.parametrize("killed", [False, True])
def test_it_ends_with_a_process_that_begins_no_run(tmp_path, start, killed):
    script = start("prepares.py", stdin=subprocess.PIPE)
    assert script.stdout.readline() == "forked\n"
    prepared(tmp_path)
    if killed:
        script.send_signal(signal.SIGKILL)
    else:
        script.stdin.write("\n")
        script.stdin.flush()
    script.wait(30)
    # The forked child of the killed one lives, and has copies of its pipes.
    wait_until(lambda: is_untouched(tmp_path), 30, "the relay's end")
    script.communicate(timeout=30)


def test_a_start_that_fails_leaves_no_relay(tmp_path, monkeypatch):
    def fail(library):
        prepared(tmp_path)
        raise tracelet.IncompatibleVersionError(library.newest)

    monkeypatch.setattr(active, "check_names", fail)
    with pytest.raises(tracelet.IncompatibleVersionError):
        tracelet.start_logging()
    assert is_untouched(tmp_path)


@pytest.mark.parametrize(
    "settings",
    [{"relay": False}, {"relay_endpoint": "http://127.0.0.1:1", "relay_token": "t" * 32}, {"backend": "otlp"}],
)
def test_nothing_is_prepared_without_a_relay_of_its_own(tmp_path, settings):
    tracelet.prepare_logging(config=settings)
    assert relays(tmp_path) == []


def test_nothing_is_prepared_in_other_ranks(tmp_path, monkeypatch):
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    tracelet.prepare_logging()
    assert relays(tmp_path) == []


def test_what_is_wrong_is_said_at_once():
    with pytest.raises(tracelet.ConfigurationError, match="unknown backend"):
        tracelet.prepare_logging("nobodys")


def test_what_clients_print_and_raise_as_they_are_imported_is_in_the_log(tmp_path, database, monkeypatch):
    (tmp_path / "chatty.py").write_text("import os\nos.write(2, b'hello\\n')\nraise RuntimeError('not today')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(MlflowOptions, "client_modules", ("chatty", "no_such_module"))
    with tracelet.start_logging("chatty") as run:
        log = Path(run._role.connection.log)
        assert "hello" in log.read_text()
        assert log.stat().st_mode & 0o777 == 0o600
    assert stored_run(database).status == "FINISHED"


def test_a_relay_that_ends_before_it_answers_leaves_what_it_has_printed(tmp_path, monkeypatch):
    (tmp_path / "deadly.py").write_text("import os\nos.write(2, b'no more\\n')\nos._exit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(MlflowOptions, "client_modules", ("deadly",))
    with pytest.raises(tracelet.TrackerError, match=r"the relay ended at its start: see \S+\.log"):
        tracelet.start_logging()
    (log,) = (tmp_path / "journals").glob("*.log")
    assert log.read_text() == "no more\n"
    assert list((tmp_path / "journals").iterdir()) == [log]
