"""What W&B does in its own way."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import replace

import psutil
import pytest

from tests.contract.backends import WandbOffline
from tests.support.fed import FedDelivery
from tests.support.waiting import free_port, wait_until
from tests.support.wandb_files import offline_files, offline_run
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import ConfigurationError, TrackerError, TrackerUnavailableError
from tracelet_otel.exporters.wandb.files import upload_error
from tracelet_otel.exporters.wandb.init import purpose
from tracelet_otel.protocol.decode import Batch, Param, Report
from tracelet_otel.protocol.failure import Failure
from tracelet_otel.protocol.report_kinds import TAGS
from tracelet_otel.testing import reading


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"level":"ERROR","msg":"filestream: fatal error: 401"}', "filestream: fatal error: 401"),
        ("panic in filestream: fatal error", "panic in filestream: fatal error"),
        ('["filestream: fatal error"]', '["filestream: fatal error"]'),
        ('{"msg":"all is well"}', None),
    ],
)
def test_why_nothing_is_uploaded_is_read_from_a_log(tmp_path, line, problem):
    log = tmp_path / "debug-core.log"
    log.write_text(f"not even JSON\n{line}\n")
    assert upload_error(log) == problem


def test_offline_without_a_key_says_how_to_upload(offline, identity, caplog, tmp_path):
    delivery = FedDelivery(offline.tracker(), Guard())
    place = delivery.open(identity.attributes)
    assert place.url.startswith(str(tmp_path / "wandb" / "offline-run-"))
    assert f"the run is offline: upload it with `wandb sync {place.url}`" in place.hint
    delivery.close(30)


def test_a_run_on_a_server_says_where_it_is(online, identity, caplog):
    delivery = FedDelivery(online.tracker(), Guard())
    assert delivery.open(identity.attributes).url.endswith(f"/tester/name%20of%20the%20project/runs/{identity.run_id}")
    assert caplog.text == ""
    delivery.close(30)


def test_the_users_own_variables_are_heeded(online, identity, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_GROUP", "a group")
    monkeypatch.setenv("WANDB_TAGS", "one,two")
    monkeypatch.setenv("WANDB_RUN_ID", "an id.of W&B")
    tracker = online.tracker()
    tracker.open(identity)
    tracker.close(semconv.OUTCOME_FINISHED)
    run = online.server.runs["an id.of W&B"]
    assert (run.group, run.tags, run.exit_code) == ("a group", ["one", "two"], 0)


@pytest.mark.parametrize(
    ("more", "variables", "expected"),
    [
        ({}, {}, ("r1", "worker")),
        ({semconv.PARENT_RUN_NAME: "the parent"}, {}, ("the parent", "worker")),
        ({semconv.RUN_GROUP: "width", semconv.RUN_JOB_TYPE: "eval"}, {}, ("width", "eval")),
        ({}, {"WANDB_RUN_GROUP": "a group", "WANDB_JOB_TYPE": "a type"}, (None, None)),
    ],
)
def test_the_group_of_a_child(more, variables, expected):
    import wandb

    known = wandb.Settings()
    known.update_from_env_vars(variables)
    assert purpose({semconv.PARENT_RUN_ID: "r1", **more}, known) == expected
    assert purpose({}, known) == (None, None)


def test_tags_of_a_run_are_beside_those_of_the_variable(online, identity, monkeypatch):
    monkeypatch.setenv("WANDB_TAGS", "one,two")
    monkeypatch.setenv("WANDB_NOTES", "of the variable")
    attributes = {**identity.attributes, semconv.RUN_GROUP: "width", semconv.RUN_JOB_TYPE: "eval"}
    tracker = online.tracker()
    tracker.open(replace(identity, attributes=attributes))
    assert tracker.set_tags({"team": "vision", "two": "3"}) == {}
    tracker.close(semconv.OUTCOME_FINISHED)
    run = online.server.runs[identity.run_id]
    assert (run.tags, run.notes) == (["one", "team:vision", "two:3"], "of the variable")
    assert (run.group, run.job_type) == ("width", "eval")


def test_a_tag_is_as_long_as_wandb_takes_it(offline, identity):
    delivery = FedDelivery(offline.tracker(), guard := Guard())
    delivery.open(identity.attributes)
    delivery.tell(None, reports=[Report(TAGS, "stage", Param("x" * 58)), Report(TAGS, "long", Param("x" * 60))])
    delivery.close(30)
    stored = offline.stored(identity.run_id)
    assert stored.tags == [f"long:{'x' * 58}…", f"stage:{'x' * 58}"]
    assert guard.counts == {"wandb does not have all of tag 'long'": 1}


def test_what_describes_an_offline_run_is_in_its_file(offline, identity, tmp_path):
    attributes = {**identity.attributes, semconv.RUN_GROUP: "width", semconv.RUN_JOB_TYPE: "eval"}
    tracker = offline.tracker()
    tracker.open(replace(identity, attributes=attributes))
    for text in ("first", "last\nline"):
        tracker.set_tags({"stage": text, semconv.NOTE: text})
        tracker.log_readings([reading("loss", 1.0)])
    tracker.close(semconv.OUTCOME_FINISHED)
    (path,) = {path.resolve() for path in offline_files(tmp_path / "wandb")}
    run = offline_run(path)
    assert (run.tags, run.notes, run.group, run.job_type) == (["stage:last\nline"], "last\nline", "width", "eval")


def test_why_a_run_failed_is_in_the_summary_and_a_file(offline, identity, tmp_path):
    failure = Failure("ValueError", "bad batch", "Traceback (most recent call last):\nValueError: größe\n")
    tracker = offline.tracker()
    tracker.open(identity)
    assert tracker.set_tags({"team": "vision", **failure.tags}) == {}
    tracker.close(semconv.OUTCOME_FAILED)
    (path,) = {path.resolve() for path in offline_files(tmp_path / "wandb")}
    run = offline_run(path)
    assert (run.tags, run.exit_code) == (["team:vision"], 1)
    assert run.summary["exception.type"] == "ValueError"
    assert run.summary["exception.message"] == "bad batch"
    assert (path.parent / "files" / "exception.txt").read_text(encoding="utf-8") == failure.stacktrace
    assert "exception.txt" in run.files


def test_the_project_is_that_of_the_variable_where_nobody_names_one(online, identity, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "of the variable")
    for project, expected in (("Default", "of the variable"), ("named", "named")):
        tracker = online.tracker()
        tracker.open(replace(identity, project=project, run_id=project))
        tracker.close(semconv.OUTCOME_FINISHED)
        assert online.server.runs[project].project == expected


def test_nothing_is_written_down_about_the_server_and_its_key(online, identity, tmp_path):
    tracker = online.tracker()
    tracker.open(identity)
    tracker.log_readings([reading("loss", 1.0)])
    tracker.close(semconv.OUTCOME_FINISHED)
    (tmp_path / "home").mkdir(exist_ok=True)
    kept = [path.relative_to(tmp_path / "home").parts[0] for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert set(kept) <= {".cache"}
    secret = online.server.api_key.encode()
    assert [path for path in tmp_path.rglob("*") if path.is_file() and secret in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("ill", "message"),
    [
        ("401", "does not take the API key .*: is it for this server"),
        ("500", "HTTP 500"),
        ("429", "HTTP 429"),
        ("hangs", "Timed out|cannot be reached"),
        ("down", "cannot be reached .*: is the server running"),
    ],
)
@pytest.mark.slow
def test_a_server_that_does_not_give_a_run_is_named_in_time(online, identity, ill, message):
    online.server.ill = ill
    with pytest.raises(TrackerUnavailableError, match=message):
        online.tracker(start_timeout=3).open(identity)


def test_a_refused_connection_is_named_at_once(offline, identity, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    with pytest.raises(TrackerUnavailableError, match=r"W&B at http://127.0.0.1:\d+ cannot be reached"):
        offline.tracker().open(identity)


@pytest.mark.parametrize("key", ["another" * 6, "short"])
def test_a_wrong_key_is_named(online, identity, key):
    with pytest.raises(TrackerError, match="does not take the API key"):
        online.tracker(api_key=key).open(identity)


def test_online_without_a_key_is_an_error(offline, identity, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(TrackerError, match="WANDB_MODE=online and no API key: set WANDB_API_KEY"):
        offline.tracker().open(identity)


def test_turned_off_by_its_variable_is_an_error(offline, identity, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with pytest.raises(ConfigurationError, match="WANDB_MODE=disabled turns W&B off"):
        offline.tracker().open(identity)


def test_a_key_of_netrc_is_found(online, identity, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text(
        f"machine 127.0.0.1:{online.server.server_port}\n  login user\n  password {online.server.api_key}\n"
    )
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", online.server.uri)
    tracker = WandbOffline(tmp_path).tracker()
    assert tracker.open(identity).hint == ""
    tracker.close(semconv.OUTCOME_FINISHED)
    assert online.server.runs[identity.run_id].exit_code == 0


def test_what_the_server_has_not_taken_is_named_at_the_end(online, identity, caplog):
    delivery = FedDelivery(online.tracker(stop_timeout=2), Guard())
    delivery.open(identity.attributes)
    online.server.ill = "hangs"
    delivery.put(Batch(identity.attributes, (reading("loss", 1.0),), (), semconv.OUTCOME_FINISHED))
    delivery.close(5)
    assert not delivery.complete
    assert "the run in wandb was not closed" in caplog.text
    assert "for `wandb sync --include-online" in caplog.text


def cores(tracker) -> list[psutil.Process]:
    children = psutil.Process(tracker.process.pid).children(recursive=True)
    return [child for child in children if "wandb-core" in child.name()]


def sixty_readings():
    return [reading("loss", n / 3, n, 1_700_000_000_000 + n) for n in range(60)]


def half_delivered(tracker, identity, readings):
    """A delivery of which the tracker has the first thirty readings."""
    delivery = FedDelivery(tracker, Guard())
    delivery.open(identity.attributes)
    delivery.put(Batch(identity.attributes, tuple(readings[:30]), (), semconv.OUTCOME_RUNNING))
    assert delivery.wait(30)
    return delivery


@pytest.mark.parametrize("place", [pytest.param("online", marks=pytest.mark.slow), "offline"])
@pytest.mark.parametrize("killed", ["its core", "its process"])
def test_its_processes_may_die(request, identity, place, killed):
    backend = request.getfixturevalue(place)
    readings, tracker = sixty_readings(), backend.tracker()
    delivery = half_delivered(tracker, identity, readings)
    victim = cores(tracker)[0] if killed == "its core" else psutil.Process(tracker.process.pid)
    os.kill(victim.pid, signal.SIGKILL)
    wait_until(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE, 10, "the death")
    delivery.put(Batch(identity.attributes, tuple(readings[30:]), (), semconv.OUTCOME_FINISHED))
    account = delivery.close(60)
    assert (account.delivered, account.refused, account.pending) == (60, 0, 0)
    assert delivery.complete
    assert backend.stored(identity.run_id).points == Counter(backend.kept(readings))


@pytest.mark.parametrize("killed", ["its core", "both"])
def test_a_batch_is_delivered_when_the_file_has_it(offline, identity, killed):
    readings, tracker = sixty_readings(), offline.tracker()
    delivery = half_delivered(tracker, identity, readings)
    (core,) = cores(tracker)
    os.kill(core.pid, signal.SIGSTOP)
    delivery.put(Batch(identity.attributes, tuple(readings[30:]), (), semconv.OUTCOME_FINISHED))
    # W&B's client has taken the rows by then, and its process will never write them.
    assert not delivery.wait(0.5)
    assert delivery.account.delivered == 30
    if killed == "both":
        os.kill(tracker.process.pid, signal.SIGKILL)
    os.kill(core.pid, signal.SIGKILL)
    account = delivery.close(60)
    assert (account.delivered, account.refused, account.pending) == (60, 0, 0)
    assert offline.stored(identity.run_id).points == Counter(offline.kept(readings))


@pytest.mark.slow
def test_where_there_is_no_file_only_the_first_batch_waits_for_it(online, identity, monkeypatch):
    monkeypatch.setenv("WANDB_X_SKIP_TRANSACTION_LOG", "true")
    tracker = online.tracker()
    tracker.open(identity)
    began_s = time.monotonic()
    tracker.log_readings([reading("loss", 1.0, 1)])
    first_s, began_s = time.monotonic() - began_s, time.monotonic()
    tracker.log_readings([reading("loss", 2.0, 2)])
    assert time.monotonic() - began_s < 5 < first_s
    tracker.close(semconv.OUTCOME_FINISHED)
    readings = [reading("loss", 1.0, 1), reading("loss", 2.0, 2)]
    assert online.stored(identity.run_id).points == Counter(online.kept(readings))


@pytest.mark.slow
def test_its_process_may_die_while_the_server_is_ill(online, identity):
    tracker = online.tracker()
    delivery = FedDelivery(tracker, Guard())
    delivery.open(identity.attributes)
    online.server.ill = "500"
    os.kill(tracker.process.pid, signal.SIGKILL)
    delivery.put(Batch(identity.attributes, (reading("loss", 1.0),), (), semconv.OUTCOME_FINISHED))
    wait_until(lambda: "HTTP 500" in str(delivery.account.problem), 60, "an attempt to go on")
    online.server.ill = None
    assert delivery.wait(60)
    account = delivery.close(60)
    assert (account.delivered, account.refused, account.pending) == (1, 0, 0)
    assert online.stored(identity.run_id).points == Counter(online.kept([reading("loss", 1.0)]))
