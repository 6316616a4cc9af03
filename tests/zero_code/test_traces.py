"""Spans of a script that has never heard of us go where the SDK's configuration says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest

from tests.support.otlp_receiver import HttpReceiver
from tests.support.span_tree import shapes, spans_of, tree
from tests.support.waiting import wait_until
from tests.tracing.test_mlflow import shape, traces_of
from tests.zero_code.conftest import run_ids
from tracelet_otel import semconv

pytestmark = pytest.mark.usefixtures("with_time")


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    receiver = HttpReceiver()
    yield receiver
    receiver.stop()


HTTP = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
STEPS = {"step.begin": 0, "step.end": 0}


def fit(epochs: int = 2, batches: int = 12) -> object:
    return (
        "fit",
        {"step.begin": 0, "step.end": epochs * batches},
        [
            ("setup", STEPS),
            ("validation", {"epoch": 0, "sanity_check": True, **STEPS}),
            *(
                (
                    "epoch",
                    {"epoch": epoch, "step.begin": batches * epoch, "step.end": batches * (epoch + 1)},
                    [("validation", {"epoch": epoch, **dict.fromkeys(STEPS, batches * (epoch + 1) - 1)})],
                )
                for epoch in range(epochs)
            ),
        ],
    )


@pytest.mark.parametrize("detector", ["", "tracelet"])
def test_they_go_to_the_endpoint_of_the_sdk(instrumented, receiver, detector):
    child = instrumented(
        "train.py",
        "otlp",
        OTEL_TRACES_EXPORTER="otlp",
        **HTTP,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
        OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=detector,
    )
    assert (child.returncode, child.stderr) == (0, "")
    spans = spans_of(receiver.traces)
    assert shapes(tree(spans)) == [fit()]
    (run_id,) = run_ids(receiver)
    assert {span.resource[semconv.RUN_ID] for span in spans} == {run_id}
    assert {span.resource[semconv.RANK] for span in spans} == {0}
    assert {span.trace_id for span in spans} == {hashlib.sha256(run_id.encode()).hexdigest()[:32]}


def test_they_go_to_the_console(instrumented):
    child = instrumented("train.py", "console", OTEL_TRACES_EXPORTER="console")
    assert (child.returncode, child.stderr) == (0, "")
    names = [json.loads(line)["name"] for line in child.stdout.splitlines() if line.startswith('{"name"')]
    if not names:  # over several lines each
        names = [line.split('"')[3] for line in child.stdout.splitlines() if line.startswith('    "name":')]
    assert sorted(names) == ["epoch", "epoch", "fit", "setup", "validation", "validation", "validation"]


@pytest.mark.parametrize(
    "variables",
    [{"OTEL_TRACES_EXPORTER": "none"}, {"TRACELET_TRACK_TIME": "false"}, {"OTEL_TRACES_SAMPLER": "always_off"}],
)
def test_nothing_goes_where_nobody_wants_it(instrumented, receiver, variables):
    told = {"OTEL_TRACES_EXPORTER": "otlp", **HTTP, **variables}
    child = instrumented("train.py", "mlflow,otlp", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint, **told)
    assert child.returncode == 0
    assert receiver.traces == []
    assert len(run_ids(receiver)) == 1


def test_the_random_state_is_as_without(tmp_path, instrumented, receiver):
    """The SDK's own ids would be drawn from Python's generator."""
    states = set()
    for traces in ("none", "otlp"):
        child = instrumented(
            "seeded.py", "console", OTEL_TRACES_EXPORTER=traces, **HTTP, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint
        )
        assert (child.returncode, child.stderr) == (0, "")
        states.add((tmp_path / "state").read_text())
    assert len(states) == 1
    assert shapes(tree(spans_of(receiver.traces))) == [fit()]


@pytest.mark.slow
def test_ranks_have_one_trace(instrumented, receiver):
    child = instrumented(
        "train.py",
        "otlp",
        DEVICES="2",
        OTEL_TRACES_EXPORTER="otlp",
        **HTTP,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
    )
    assert child.returncode == 0, child.stderr
    wait_until(lambda: [one.name for one in spans_of(receiver.traces)].count("fit") == 2, 30, "the end of both ranks")
    spans = spans_of(receiver.traces)
    assert len({span.span_id for span in spans}) == len(spans)
    assert len({span.trace_id for span in spans}) == 1
    by_rank = [shapes(tree(one for one in spans if one.resource[semconv.RANK] == rank)) for rank in range(2)]
    assert by_rank == [[fit(batches=6)], [fit(batches=6)]]


def test_they_are_the_trace_of_the_run_in_mlflow(instrumented, database):
    child = instrumented("train.py", "mlflow", TRACELET_PROJECT="zero code")
    assert child.returncode == 0, child.stderr
    (trace,) = traces_of(f"sqlite:///{database}", "zero code")
    epoch = ("epoch", ["validation"])
    assert shape(trace) == [("fit", ["setup", "validation", epoch, epoch])]


def test_a_verdict_goes_to_the_logs_of_the_sdk(instrumented, receiver):
    child = instrumented(
        "train.py",
        "otlp",
        OTEL_TRACES_EXPORTER="none",
        OTEL_LOGS_EXPORTER="otlp",
        **HTTP,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
    )
    assert child.returncode == 0, child.stderr
    [(name, body, attributes, _)] = receiver.events
    assert name == semconv.EVENT_VERDICT
    assert body.startswith(f"{attributes[semconv.VERDICT]}: ")
