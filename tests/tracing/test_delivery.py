"""Where spans go, what their trace is, and what becomes of them where nobody takes them."""

from __future__ import annotations

import hashlib
import importlib
import time
from typing import Any

import pytest

import tracelet_otel as tracelet
from tests.support.collector import Collector
from tests.support.otlp_receiver import GrpcReceiver, HttpReceiver
from tests.support.quiet import quiet_trainer
from tests.support.span_tree import shapes, spans_of, tree
from tests.support.trainings import loader, regression
from tests.support.waiting import free_port, wait_until
from tracelet_otel import ConfigurationError, semconv

pl = importlib.import_module("lightning.pytorch")
pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("with_time")]
END_S, SLACK_S = 5.0, 3.0
CONFIG = {"backend": "otlp", "export_interval": 0.1}
FIT = (
    "fit", {"step.begin": 0, "step.end": 4},
    [("setup", {"step.begin": 0, "step.end": 0}), ("epoch", {"epoch": 0, "step.begin": 0, "step.end": 4})],
)  # fmt: skip


def fit(**config: Any) -> Any:
    """Trains in a run, and returns that."""
    with tracelet.start_logging("a run", "the project", config={**CONFIG, **config}) as run:
        quiet_trainer(pl, max_epochs=1).fit(regression(pl), loader(16))
    return run


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_through_a_real_collector(tmp_path, receiver, monkeypatch, protocol):
    collector = Collector(tmp_path, receiver.endpoint, signals=("metrics", "traces"))
    collector.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint(protocol))
    run = fit()
    collector.stop()
    found = spans_of(receiver.traces)
    assert run.errors == {}
    assert shapes(tree(found)) == [FIT]
    expected = {semconv.RUN_ID: run.id, semconv.RUN_NAME: "a run", semconv.SERVICE_NAME: "the project", semconv.RANK: 0}
    assert [{name: span.resource[name] for name in expected} for span in found] == [expected] * len(found)
    # What a run has in common says of which trace it is.
    assert {span.trace_id for span in found} == {hashlib.sha256(run.id.encode()).hexdigest()[:32]}
    assert {span.parent_id for span in found if span.name == "fit"} == {""}


@pytest.mark.parametrize("kind", [HttpReceiver, GrpcReceiver])
def test_an_endpoint_without_traces_is_no_problem(monkeypatch, caplog, kind):
    receiver = kind()
    receiver.takes_traces = False
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc" if kind is GrpcReceiver else "http/protobuf")
    caplog.set_level("INFO", "tracelet_otel")
    began_s = time.monotonic()
    run = fit(backend_url=receiver.endpoint)
    receiver.stop()
    assert run.errors == {}
    assert run.accounts["otlp"].delivered == len(receiver.samples) > 0
    assert time.monotonic() - began_s < END_S
    told = [one.getMessage() for one in caplog.records if one.name == "tracelet_otel"]
    status = "gRPC status UNIMPLEMENTED" if kind is GrpcReceiver else "HTTP status 404 Not Found"
    endpoint = receiver.endpoint if kind is GrpcReceiver else f"{receiver.endpoint}/v1/traces"
    assert told == [f"{endpoint} takes no traces ({status}). OTEL_TRACES_EXPORTER=none turns them off"]


@pytest.mark.parametrize("traces_are_elsewhere", [False, True])
def test_a_dead_endpoint_takes_no_more_time_than_with_metrics_only(monkeypatch, receiver, traces_are_elsewhere):
    dead = f"http://127.0.0.1:{free_port()}"
    variable = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" if traces_are_elsewhere else "OTEL_EXPORTER_OTLP_ENDPOINT"
    monkeypatch.setenv(variable, dead)
    run = tracelet.start_logging("a run", config=CONFIG)
    quiet_trainer(pl, max_epochs=1).fit(regression(pl), loader(16))
    began_s = time.monotonic()
    run.stop()
    assert time.monotonic() - began_s < END_S + SLACK_S
    assert run.errors["spans were not delivered"] == 3
    assert run.errors.get("values were not delivered", 0) == (
        0 if traces_are_elsewhere else run.accounts["otlp"].pending
    )


def test_an_endpoint_that_is_ill_for_a_while_gets_everything(receiver):
    receiver.ill = "503"
    run = tracelet.start_logging("a run", config=CONFIG)
    quiet_trainer(pl, max_epochs=1).fit(regression(pl), loader(16))
    wait_until(lambda: receiver.attempts, 20, "an attempt")
    receiver.ill = None
    run.stop()
    assert shapes(tree(spans_of(receiver.traces))) == [FIT]
    assert "spans were not delivered" not in run.errors


def test_traces_may_go_elsewhere_with_headers_of_their_own(monkeypatch, receiver):
    other = GrpcReceiver()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", other.endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")
    run = fit()
    other.stop()
    assert run.errors == {}
    assert (shapes(tree(spans_of(other.traces))), receiver.traces) == ([FIT], [])
    assert (len(receiver.samples), other.samples) == (run.accounts["otlp"].delivered, [])


@pytest.mark.parametrize(
    ("variables", "config"),
    [
        ({"OTEL_TRACES_EXPORTER": "none"}, {}),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, {}),
        ({}, {"track_time": False}),
        ({"TRACEPARENT": f"00-{'a' * 32}-{'b' * 16}-00"}, {}),
    ],
    ids=str,
)
def test_who_wants_none_gets_none(monkeypatch, receiver, variables, config):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    run = fit(**config)
    assert (receiver.traces, run.errors) == ([], {})
    assert len(receiver.samples) == run.accounts["otlp"].delivered > 0


def test_an_endpoint_for_metrics_only_gets_no_traces(monkeypatch, receiver):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{receiver.endpoint}/v1/metrics")
    assert fit().errors == {}
    assert receiver.traces == []


def test_a_span_of_another_process_is_the_parent(monkeypatch, receiver):
    monkeypatch.setenv("TRACEPARENT", f"00-{'a' * 32}-{'b' * 16}-01")
    fit()
    (found,) = tree(spans_of(receiver.traces))
    assert (found.trace_id, found.parent_id, found.shape) == ("a" * 32, "b" * 16, FIT)


@pytest.mark.parametrize("malformed", ["", "00-abc", f"00-{'0' * 32}-{'b' * 16}-01", f"ff-{'a' * 32}-{'b' * 16}-01"])
def test_a_parent_that_is_none_is_not_heeded(monkeypatch, receiver, malformed):
    monkeypatch.setenv("TRACEPARENT", malformed)
    run = fit()
    (found,) = tree(spans_of(receiver.traces))
    assert (found.trace_id, found.parent_id) == (hashlib.sha256(run.id.encode()).hexdigest()[:32], "")
    assert (found.shape, run.errors) == (FIT, {})


def test_what_is_wrong_shows_before_a_tracker_has_a_run(monkeypatch, database):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "soon")
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"):
        tracelet.start_logging(backend=["mlflow", "otlp"])


def test_a_killed_training_leaves_what_it_has_done(start, tmp_path, receiver):
    child = start("waits.py", TRACELET_BACKEND="otlp")
    wait_until((tmp_path / "an epoch is done").exists, 60, "an epoch")
    wait_until(lambda: len(spans_of(receiver.traces)) == 5, 20, "what it has done")
    child.kill()
    child.communicate(timeout=30)
    done = tree(spans_of(receiver.traces))
    # Their parent is the fit, which has not ended.
    assert len({span.parent_id for span in done}) == 1
    begin, end = ({"step.begin": step, "step.end": step} for step in (0, 4))
    saved = next(tmp_path.rglob("*.ckpt"))
    file = {"file.name": saved.name, "file.size": saved.stat().st_size}
    validation = ("validation", {"epoch": 0, "step.begin": 3, "step.end": 3})
    assert shapes(done) == [
        ("setup", begin),
        ("validation", {"epoch": 0, "sanity_check": True, **begin}),
        ("epoch", {"epoch": 0, "step.begin": 0, "step.end": 4}, [validation]),
        ("checkpoint.save", {"epoch": 0, **end, **file}),
    ]


@pytest.mark.parametrize(
    "strategy", ["ddp_fork", *(pytest.param(one, marks=pytest.mark.slow) for one in ("ddp", "ddp_spawn"))]
)
def test_ranks_share_a_trace_and_no_span(run, receiver, database, strategy):
    child = run("train.py", 2, TRACELET_BACKEND="otlp", STRATEGY=strategy)
    assert child.returncode == 0, child.stderr
    # A rank that has been started may end later than the one that has started it.
    wait_until(lambda: [one.name for one in spans_of(receiver.traces)].count("fit") == 2, 30, "the end of both ranks")
    spans = spans_of(receiver.traces)
    assert len({span.trace_id for span in spans}) == 1
    assert len({span.span_id for span in spans}) == len(spans)
    assert len({span.resource[semconv.RUN_ID] for span in spans}) == 1
    by_rank = {rank: shapes(tree(one for one in spans if one.resource[semconv.RANK] == rank)) for rank in range(2)}
    assert by_rank[0] == by_rank[1]
    ((name, attributes, parts),) = by_rank[0]
    assert (name, attributes["step.end"], [part[0] for part in parts]) == ("fit", 4, ["setup", "epoch", "epoch"])


def test_the_trainings_random_state_is_as_without(run, receiver):
    states = []
    for tracks_time in ("true", "false"):
        child = run("train.py", 1, TRACELET_BACKEND="otlp", TRACELET_TRACK_TIME=tracks_time)
        assert child.returncode == 0, child.stderr
        states.append(child.stdout.splitlines()[-1])
    assert states[0].startswith("{} ")
    assert states[0] == states[1]
    assert [span.name for span in tree(spans_of(receiver.traces))] == ["fit"]
