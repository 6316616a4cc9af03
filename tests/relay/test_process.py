"""What the relay does to the process that trains, and where there is none."""

from __future__ import annotations

import pytest

import tracelet_otel as tracelet
from tests.support.mlflow_store import stored_run
from tests.support.relays import relays
from tracelet_otel import settings


@pytest.mark.cold
def test_a_training_imports_no_tracker_and_has_one_child(database, run):
    child = run("one_child.py")
    assert child.returncode == 0, child.stderr
    assert stored_run(database).status == "FINISHED"


@pytest.mark.cold
def test_nothing_secret_is_on_the_command_line_or_in_the_environment(tmp_path, mlflow_server):
    secret = "sEcReT-of-the-user"
    with tracelet.start_logging("process", backend_url=mlflow_server.uri.replace("//", f"//me:{secret}@")) as run:
        (relay,) = relays(tmp_path)
        environment = relay.environ()
        shown = " ".join([*relay.cmdline(), *environment.values()])
        assert secret not in shown
        assert run._role.connection.address.token not in shown
        assert not [name for name in environment if name.startswith(("OTEL_", "TRACELET_"))]
        assert environment["CUDA_VISIBLE_DEVICES"] == ""


def test_a_platform_without_relay_says_so(database, monkeypatch, caplog):
    monkeypatch.setattr(settings, "RELAY_PLATFORMS", ())
    with tracelet.start_logging("in process") as run:
        run.log_metric("loss", 1.0, 1)
    assert "there is no relay on linux: trackers live in this process" in caplog.text
    assert stored_run(database).points
    assert (run.accounts["mlflow"].delivered, run.errors) == (1, {})
    caplog.clear()
    with tracelet.start_logging("meant", config={"relay": False}):
        pass
    assert caplog.text == ""
    with pytest.raises(tracelet.ConfigurationError, match="there is no relay on linux: leave out relay=True"):
        tracelet.start_logging(config={"relay": True})
