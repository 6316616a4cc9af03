"""What ClearML does in its own way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract.backends import ClearmlOffline, ClearmlOnline
from tests.contract.conftest import make_backend
from tests.support.fed import FedDelivery
from tests.support.waiting import free_port
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import ConfigurationError, RunLostError, TrackerUnavailableError
from tracelet_otel.protocol.decode import Param
from tracelet_otel.protocol.failure import Failure
from tracelet_otel.testing import reading

IMPORT = """
import sys
from clearml import Task
print(Task.import_offline_session(sys.argv[1]))
"""


@pytest.fixture
def offline(tmp_path):
    return ClearmlOffline(tmp_path / "clearml")


@pytest.fixture
def online(request, tmp_path, monkeypatch) -> ClearmlOnline:
    return make_backend("ClearML server", request, tmp_path, monkeypatch)


def log_some(backend, identity):
    readings = [reading("train/loss", n / 3, n, 1_700_000_000_000 + n) for n in range(50)]
    readings += [reading("a/b/c", 1.0, 5, 1_700_000_000_000), reading("plain", 2.0, 5, 1_700_000_000_000)]
    tracker = backend.tracker()
    place = tracker.open(identity)
    tracker.log_params({"lr": Param("0.1", semconv.TYPE_FLOAT), "model/width": Param("7", semconv.TYPE_INT)})
    tracker.log_readings(readings)
    return tracker, place, readings


def import_session(path, server, tmp_path) -> None:
    (tmp_path / "clearml.conf").write_text(
        json.dumps(
            {
                "api": {
                    "api_server": server.uri,
                    "web_server": server.uri,
                    "files_server": server.uri,
                    "credentials": {"access_key": server.access_key, "secret_key": server.secret_key},
                }
            }
        )
    )
    environment = {"CLEARML_CONFIG_FILE": str(tmp_path / "clearml.conf"), "HOME": str(tmp_path), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, str(path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("form", ["archive", "folder of a run that was killed"])
def test_clearml_imports_a_session(offline, identity, clearml_server, tmp_path, form):
    tracker, place, readings = log_some(offline, identity)
    tracker.set_tags({"team": "vision", "baseline": "", semconv.NOTE: "two\nlines"})
    folder = tmp_path / "clearml" / "offline" / f"offline-{identity.run_id}"
    assert place.url == str(folder)
    assert f"Task.import_offline_session('{folder}.zip')" in place.hint
    if form == "archive":
        tracker.close(semconv.OUTCOME_FAILED)
        folder = folder.with_suffix(".zip")
    else:
        with (folder / "metrics.jsonl").open("a") as lines:
            lines.write('[{"type": "training_stats_sca')  # a line that was cut
    import_session(folder, clearml_server, tmp_path)
    online = ClearmlOnline(clearml_server)
    stored = online.stored(identity.run_id)
    assert (stored.name, stored.project) == ("name of the run", "name of the project")
    assert stored.params == {"lr": "0.1", "model/width": "7"}
    assert stored.points == Counter(online.kept(readings))
    (task,) = clearml_server.tasks.values()
    outcome = ["outcome: failed"] if form == "archive" else []
    assert (task.tags, task.fields["comment"]) == (["baseline", *outcome, "team:vision"], "two\nlines")
    assert task.type == "training"


def test_titles_and_series_are_those_of_its_tensorboard_binding(online, identity):
    tracker, _, _ = log_some(online, identity)
    tracker.close(semconv.OUTCOME_FINISHED)
    (task,) = online.server.tasks.values()
    assert {(title, series) for title, series, _ in task.points} == {
        ("train", "loss"),
        ("a_b", "c"),
        ("plain", "plain"),
    }
    assert task.properties["tracelet.metric.name.a_b/c"] == "a/b/c"
    assert "tracelet.metric.name.train/loss" not in task.properties


def test_a_task_has_its_types_and_reason(online, identity):
    tracker, place, _ = log_some(online, identity)
    tracker.close(semconv.OUTCOME_INTERRUPTED)
    (task,) = online.server.tasks.values()
    assert (task.type, task.status, task.status_reason) == ("training", "stopped", "interrupted")
    assert task.hyperparams["General"]["lr"]["type"] == "float"
    assert task.task_id in place.url
    assert place.hint == ""


def test_the_address_of_its_pages_is_used(online, identity, monkeypatch):
    monkeypatch.setenv("CLEARML_WEB_HOST", "https://app.clearml.example")
    place = online.tracker().open(identity)
    (task,) = online.server.tasks.values()
    ((project, _),) = online.server.projects.items()
    assert place.url == f"https://app.clearml.example/projects/{project}/experiments/{task.task_id}/output/log"


def test_clearml_conf_is_heeded(clearml_server, identity, tmp_path, monkeypatch):
    monkeypatch.setenv("CLEARML_CONFIG_FILE", str(tmp_path / "my.conf"))
    (tmp_path / "my.conf").write_text(
        f'api {{ api_server: "{clearml_server.uri}"\n credentials {{ access_key: "{clearml_server.access_key}"\n'
        f'secret_key: "{clearml_server.secret_key}" }} }}'
    )
    backend = ClearmlOnline(clearml_server)
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.close(semconv.OUTCOME_FINISHED)
    assert backend.stored(identity.run_id).status == "completed"


def test_offline_mode_is_heeded(online, identity, monkeypatch, tmp_path):
    monkeypatch.setenv("CLEARML_OFFLINE_MODE", "1")
    assert online.tracker().open(identity).url.startswith(str(tmp_path / "clearml" / "offline"))
    assert online.server.calls == []


@pytest.mark.parametrize(
    ("ill", "message"),
    [
        ("401", "does not let us in .*CLEARML_API_ACCESS_KEY"),
        ("500", "The server is ill: 500 .status 500"),
        ("429", "The server is ill: 429 .status 429"),
        ("down", "cannot be reached .*: is the server running"),
    ],
)
def test_a_server_that_does_not_give_a_task_is_named_at_once(online, identity, ill, message):
    online.server.ill = ill
    with pytest.raises(TrackerUnavailableError, match=message):
        online.tracker().open(identity)


def test_a_silent_server_is_named_in_time(online, identity, monkeypatch):
    monkeypatch.setattr("tracelet_otel.exporters.clearml.api.REQUEST_S", 0.5)
    online.server.ill = "hangs"
    with pytest.raises(TrackerUnavailableError, match=r"cannot be reached .ReadTimeout"):
        online.tracker().open(identity)


def test_a_refused_connection_is_named(online, identity, monkeypatch):
    monkeypatch.setenv("CLEARML_API_HOST", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(TrackerUnavailableError, match=r"cannot be reached .ConnectionError"):
        online.tracker().open(identity)


@pytest.mark.slow
def test_something_else_that_answers_is_named(online, identity, monkeypatch, mlflow_server):
    monkeypatch.setenv("CLEARML_API_HOST", mlflow_server.uri)
    with pytest.raises(TrackerUnavailableError, match="is this its API server"):
        online.tracker().open(identity)


def test_wrong_credentials_are_named_and_not_shown(online, identity, monkeypatch):
    monkeypatch.setenv("CLEARML_API_SECRET_KEY", "hush-hush")
    with pytest.raises(TrackerUnavailableError, match="does not let us in") as raised:
        online.tracker().open(identity)
    assert "hush" not in str(raised.value)


def test_a_server_without_credentials_is_an_error(online, monkeypatch):
    monkeypatch.delenv("CLEARML_API_SECRET_KEY")
    with pytest.raises(ConfigurationError, match="nothing to log in with: set CLEARML_API_ACCESS_KEY"):
        online.tracker()


def test_a_token_that_has_expired_is_renewed(online, identity):
    tracker, _, readings = log_some(online, identity)
    online.server.tokens.clear()
    more = [reading("later", 1.0, 7)]
    tracker.log_readings(more)
    assert online.stored(identity.run_id).points == Counter(online.kept([*readings, *more]))


def test_a_task_that_is_deleted_in_mid_run_takes_no_more(online, identity):
    tracker, _, _ = log_some(online, identity)
    online.server.tasks.clear()
    with pytest.raises(RunLostError, match="is not there any more"):
        tracker.log_readings([reading("loss", 1.0)])


@pytest.mark.parametrize("by", ["its id", "Run.id"])
def test_a_task_that_failed_is_continued(online, identity, by):
    tracker, _, _ = log_some(online, identity)
    tracker.close(semconv.OUTCOME_FAILED)
    (task,) = online.server.tasks.values()
    again = online.tracker(run_id=task.task_id if by == "its id" else identity.run_id)
    again.open(identity)
    assert task.status == "in_progress"
    again.log_readings([reading("train/loss", 9.0, 99)])
    again.close(semconv.OUTCOME_FINISHED)
    assert task.status == "completed"
    assert task.points["train", "loss", 99][0] == 9.0


def test_tags_that_others_have_given_a_task_meanwhile_stay(online, identity):
    tracker = online.tracker()
    tracker.open(identity)
    tracker.set_tags({"stage": "draft"})
    (task,) = online.server.tasks.values()
    task.tags.append("of somebody")
    tracker.set_tags({"stage": "final"})
    tracker.close(semconv.OUTCOME_FINISHED)
    assert task.tags == ["of somebody", "stage:final"]
    assert "comment" not in task.fields


@pytest.mark.parametrize("outcome", [semconv.OUTCOME_FAILED, semconv.OUTCOME_FINISHED])
def test_why_a_task_failed_is_the_reason_of_its_status(online, identity, outcome):
    failure = Failure("ValueError", "bad batch\nof 3", "Traceback (most recent call last):\nValueError: bad batch\n")
    tracker = online.tracker()
    tracker.open(identity)
    tracker.set_tags({"team": "vision", **failure.tags})
    tracker.close(outcome)
    (task,) = online.server.tasks.values()
    has_failed = outcome == semconv.OUTCOME_FAILED
    assert (task.tags, task.status) == (["team:vision"], "failed" if has_failed else "completed")
    assert (task.status_reason, task.status_message) == (
        ("failed: ValueError: bad batch", failure.stacktrace) if has_failed else ("finished", "")
    )


@pytest.mark.parametrize("outcome", [semconv.OUTCOME_RUNNING, None])
def test_why_a_task_was_killed_is_the_reason_of_its_status(online, identity, outcome):
    tracker = online.tracker()
    tracker.open(identity)
    tracker.set_tags(Failure("SIGKILL", "killed by SIGKILL; probably out of memory", "").tags)
    tracker.close(outcome)
    (task,) = online.server.tasks.values()
    assert (task.status, task.status_reason, task.status_message) == (
        "stopped",
        "SIGKILL: killed by SIGKILL; probably out of memory",
        "killed by SIGKILL; probably out of memory",
    )


def test_an_offline_session_says_why_it_failed(offline, identity):
    failure = Failure("ValueError", "bad batch", "Traceback")
    tracker = offline.tracker()
    place = tracker.open(identity)
    tracker.set_tags(failure.tags)
    tracker.close(semconv.OUTCOME_FAILED)
    task = json.loads(Path(place.url, "task.json").read_text())
    assert (task["status_reason"], task["status_message"]) == ("failed: ValueError: bad batch", "Traceback")


def test_group_and_job_type_are_properties(online, identity):
    attributes = {**identity.attributes, semconv.RUN_GROUP: "width", semconv.RUN_JOB_TYPE: "eval"}
    online.tracker().open(replace(identity, attributes=attributes))
    (task,) = online.server.tasks.values()
    assert (task.properties["tracelet.run.group"], task.properties["tracelet.run.job_type"]) == ("width", "eval")


def test_a_parent_that_the_server_got_late_links_children_that_are_over(online, identity):
    child = online.tracker()
    child.open(replace(identity, attributes={**identity.attributes, semconv.PARENT_RUN_ID: "r1"}))
    child.close("finished")
    tracker = online.tracker()
    # As after a first attempt that has failed.
    for _ in range(2):
        tracker.open(replace(identity, run_id="r1", attributes={semconv.RUN_ID: "r1"}))
    tasks = {task.properties[semconv.RUN_ID]: task for task in online.server.tasks.values()}
    assert tasks[identity.run_id].fields["parent"] == tasks["r1"].task_id
    assert "parent" not in tasks["r1"].fields


def test_short_names_are_made_long_enough(online, identity):
    tracker = online.tracker()
    tracker.open(replace(identity, run_name="r1", project="p"))
    tracker.close(semconv.OUTCOME_FINISHED)
    (task,) = online.server.tasks.values()
    assert (task.name, task.project) == ("r1 (short)", "p (short)")


def test_a_folder_that_cannot_be_written_is_named(offline, identity, tmp_path):
    (tmp_path / "clearml").write_text("a file where the folder should be")
    with pytest.raises(TrackerUnavailableError, match="cannot be used"):
        offline.tracker().open(identity)


def test_values_beyond_32_bits_are_refused_and_said(offline, identity, caplog):
    from tracelet_otel.protocol.decode import Batch

    delivery = FedDelivery(offline.tracker(), Guard())
    delivery.open(identity.attributes)
    delivery.put(Batch(identity.attributes, (reading("loss", 1e39), reading("loss", 1.0, 1)), (), None))
    account = delivery.close(10)
    assert (account.delivered, account.refused) == (1, 1)
    assert "ClearML stores 32 bits, and 1e+39 is beyond them" in caplog.text
