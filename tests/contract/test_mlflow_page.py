"""What MLflow's page of a run shows first: few tags, how the run ended, and the run among the training runs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND, PERMISSION_DENIED

from tests.contract.conftest import make_backend
from tests.support.fed import FedDelivery
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.mlflow.description import WRITTEN_TAGS, described, links, summary
from tracelet_otel.exporters.mlflow.extremes import EXTREMES_TAG, Extreme, Extremes
from tracelet_otel.exporters.mlflow.mapping import NOTE_TAG, TRACEBACK_TAG
from tracelet_otel.protocol.decode import Param
from tracelet_otel.testing import reading


@pytest.fixture(params=["MLflow on SQLite", pytest.param("MLflow server", marks=pytest.mark.slow)])
def backend(request, tmp_path, monkeypatch):
    return make_backend(request.param, request, tmp_path, monkeypatch)


@pytest.fixture
def client(backend):
    return MlflowClient(backend.uri)


@pytest.fixture
def identity(identity):
    """In a project of its own, since the server has runs of other tests."""
    project = f"of {identity.run_id}"
    more = {
        semconv.PROJECT_NAME: project,
        semconv.HOST_NAME: "node7",
        semconv.PROCESS_PID: 7,
        semconv.OS_VERSION: "6.1",
        "telemetry.sdk.name": "opentelemetry",
    }
    return replace(identity, project=project, attributes={**identity.attributes, **more})


def found(client, identity):
    """The run as MLflow's page gets it."""
    experiment = client.get_experiment_by_name(identity.project)
    (run,) = client.search_runs([experiment.experiment_id])
    return run


def shown(tags):
    """As MLflow's page chooses them."""
    return {name: text for name, text in tags.items() if not name.startswith(("mlflow.", "_mlflow_"))}


def test_the_page_still_goes_by_what_we_go_by():
    """By what its script has: which tags it hides, and what makes a run a training run."""
    (script,) = Path(mlflow.__file__).parent.glob("server/js/build/static/js/main.*.js")
    text = script.read_text()
    assert 'startsWith("_mlflow_")' in text
    assert "trainingRuns.push" in text
    assert "modelOutputs" in text


def test_few_tags_are_shown_and_all_can_be_searched(backend, client, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.set_tags({"team": "vision", "os.version": "mine"})
    expected = {"tracelet.run.id": identity.run_id, "host.name": "node7", "team": "vision", "os.version": "mine"}
    assert shown(found(client, identity).data.tags) == expected
    facts = backend.stored(identity.run_id).facts
    assert {name: str(value) for name, value in identity.attributes.items()}.items() <= facts.items()
    experiment = client.get_experiment_by_name(identity.project)
    for name in ("os.version", "telemetry.sdk.name", "process.pid", "process.owner"):
        wanted = f"tags.`mlflow.resource.{name}` = '{identity.attributes[name]}'"
        assert len(client.search_runs([experiment.experiment_id], wanted)) == 1


def test_a_training_is_among_the_training_runs(backend, client, identity):
    tracker = backend.tracker()
    place = tracker.open(identity)
    if backend.uri.startswith("http"):
        assert place.url.endswith("?workflowType=machine_learning")
    tracker.log_readings([reading("test/loss", 1.0, stage="test")])
    assert not found(client, identity).outputs.model_outputs
    for step in range(2):
        tracker.log_readings([reading("loss", 1.0, step, stage="fit")])
    again = backend.tracker()
    again.open(identity)
    again.log_readings([reading("loss", 1.0, 2, stage="fit")])
    run = found(client, identity)
    (output,) = run.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert (model.name, model.source_run_id, str(model.status)) == ("model", run.info.run_id, "READY")
    assert client.get_experiment(run.info.experiment_id).tags["mlflow.experimentKind"] == "custom_model_development"


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_training_has_one_model_also_where_telling_so_was_cut_off(backend, client, identity, monkeypatch, is_killed):
    def away(*_: object) -> None:
        raise mlflow.MlflowException("away")

    tracker = backend.tracker()
    tracker.open(identity)
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "finalize_logged_model", away)
        tracker.log_readings([reading("loss", 1.0, stage="fit")])
    if is_killed:
        tracker = backend.tracker()
        tracker.open(identity)
    tracker.log_readings([reading("loss", 1.0, 1, stage="fit")])
    run = found(client, identity)
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert str(model.status) == "READY"
    assert [one.model_id for one in run.outputs.model_outputs] == [model.model_id]


def test_an_experiment_that_was_there_stays_as_it_is(backend, client, identity):
    client.create_experiment(identity.project, tags={"team": "nlp"})
    before = client.get_experiment_by_name(identity.project).tags
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.log_readings([reading("loss", 1.0, stage="fit")])
    tracker.close(semconv.OUTCOME_FINISHED)
    assert client.get_experiment_by_name(identity.project).tags == before


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (mlflow.MlflowException("no such endpoint", ENDPOINT_NOT_FOUND), {}),
        (mlflow.MlflowException("not you", PERMISSION_DENIED), {"MLflow does not list the run among trainings": 2}),
        (ValueError("a bug at https://me:word@host"), {"MLflow does not list the run among trainings": 2}),
    ],
    ids=["a server that knows none", "a user who may not", "a bug"],
)
def test_where_a_run_cannot_have_a_model_it_has_its_values(backend, client, identity, monkeypatch, caplog, error, said):
    def unknown(*_, **__):
        raise error

    monkeypatch.setattr(MlflowClient, "create_logged_model", unknown)
    tracker, guard = backend.tracker(), Guard()
    FedDelivery(tracker, guard)
    tracker.open(identity)
    for step in range(2):
        tracker.log_readings([reading("loss", 1.0, step, stage="fit")])
    assert found(client, identity).data.metrics == {"loss": 1.0}
    assert guard.counts == said
    assert "word" not in caplog.text


def test_the_description_says_how_the_run_ended(backend, client, identity):
    tracker = backend.tracker()
    tracker.open(replace(identity, start_unix_nano=1_700_000_000 * 10**9))
    tracker.set_tags({semconv.NOTE: "mine"})
    values = [(3.0, 1), (0.5, 2), (math.nan, 3), (0.75, 4)]
    tracker.log_readings([reading("train/loss", value, step) for value, step in values])
    tracker.log_readings([reading("val/acc", 0.123456, 4), reading("epoch", 1.0, 4), reading("time/setup", 0.0, 4)])
    for _ in range(2):
        tracker.close(semconv.OUTCOME_FINISHED, 1_700_000_075 * 10**9)
    assert found(client, identity).data.tags[NOTE_TAG] == (
        "mine\n\n**Finished** after 0:01:15\n\n"
        "- `val/acc`: last 0.1235, lowest 0.1235 (step 4), highest 0.1235 (step 4)\n"
        "- `train/loss`: last 0.75, lowest 0.5 (step 2), highest 3 (step 1)"
    )


def test_a_run_that_goes_on_has_its_note_and_one_summary(backend, client, identity):
    first = backend.tracker()
    first.open(identity)
    first.set_tags({semconv.NOTE: "mine"})
    first.log_readings([reading("loss", 1.0, 1)])
    first.close(semconv.OUTCOME_FAILED)
    again = backend.tracker(run_id=identity.run_id)
    again.open(identity)
    again.log_readings([reading("loss", 3.0, 2), reading("loss", 2.0, 3)])
    again.close(semconv.OUTCOME_FINISHED)
    note, ended, values = found(client, identity).data.tags[NOTE_TAG].split("\n\n")
    assert (note, ended.partition(" ")[0]) == ("mine", "**Finished**")
    assert values == "- `loss`: last 2, lowest 1 (step 1), highest 3 (step 2)"


def test_a_run_of_an_older_release_is_found_and_says_what_is_known(backend, client, identity):
    experiment = client.create_experiment(identity.project)
    old = client.create_run(experiment, tags={"tracelet.run.id": identity.run_id, "os.version": "6.1"})
    client.log_metric(old.info.run_id, "loss", 9.0, step=1)
    client.set_tag(old.info.run_id, NOTE_TAG, "mine")
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.set_tags({semconv.NOTE: "mine"})
    tracker.log_readings([reading("loss", 3.0, 2), reading("acc", 0.5, 2)])
    tracker.close(semconv.OUTCOME_FINISHED)
    run = found(client, identity)
    assert run.info.run_id == old.info.run_id
    note, _, values = run.data.tags[NOTE_TAG].split("\n\n")
    assert note == "mine"
    assert values == "- `acc`: last 0.5, lowest 0.5 (step 2), highest 0.5 (step 2)\n- `loss`: last 3"


def test_what_people_write_in_the_page_stays(backend, client, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.set_tags({semconv.NOTE: "first"})
    run_id = found(client, identity).info.run_id
    client.set_tag(run_id, NOTE_TAG, "# Written in the page\n\n\n\nfirst, but better")
    tracker.set_tags({semconv.NOTE: "first\n\ninput-bound: a finding"})
    tracker.close(semconv.OUTCOME_FINISHED)
    text = found(client, identity).data.tags[NOTE_TAG]
    assert text.startswith("# Written in the page\n\n\n\nfirst, but better\n\ninput-bound: a finding\n\n**Finished** ")
    client.set_tag(run_id, NOTE_TAG, "all of it is mine")
    tracker.close(semconv.OUTCOME_FINISHED)
    kept = found(client, identity).data.tags[NOTE_TAG]
    assert kept.startswith("all of it is mine")


PARAGRAPHS = st.lists(st.sampled_from(["a", "b", "c", "d\ne"]), unique=True, max_size=3).map("\n\n".join)


@given(PARAGRAPHS, PARAGRAPHS, st.lists(st.sampled_from(["a", "b", "of theirs", ""]), max_size=4))
def test_no_paragraph_of_others_is_lost_whatever_we_write(first, second, theirs):
    tags = described({}, first, "")
    tags[NOTE_TAG] = "\n\n".join(theirs)
    changed = described(tags, second, "**Finished**")
    kept = changed[NOTE_TAG].split("\n\n")
    own = first.split("\n\n")
    if tags[NOTE_TAG] != first:
        assert kept.count("of theirs") == theirs.count("of theirs")
        assert not [one for one in own if one and one not in theirs and one in kept]
    assert changed[WRITTEN_TAGS[0]] == second
    # Written again, nothing changes.
    assert described(changed, second, "**Finished**")[NOTE_TAG] == changed[NOTE_TAG]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(width=32), st.integers(-5, 5)), max_size=30), st.integers(0, 30)
)
def test_extremes_are_those_of_all_values_also_after_a_kill_and_when_some_come_again(logged, killed):
    readings = [reading(key, value, step) for key, value, step in logged]
    keyed = [(one.name, one) for one in readings]
    before = Extremes({}).and_those_of(keyed[:killed])
    kept = Extremes.of({EXTREMES_TAG: before.text}, before.known)
    after = kept.and_those_of(keyed[killed // 2 :])
    finite = {key: [one.value for one in readings if one.name == key and math.isfinite(one.value)] for key in "ab"}
    assert {key: (one.lowest, one.highest) for key, one in after.known.items()} == {
        key: (min(values), max(values)) for key, values in finite.items() if values
    }


def test_a_tag_has_room_for_extremes_of_so_many_metrics():
    keyed = [(f"{number:0250}", reading("x", -1.7976931348623157e308, -(2**63))) for number in range(100)]
    found = Extremes({}).and_those_of(keyed)
    assert len(found.text) <= 8000
    assert len(found.known) == 22
    assert found.and_those_of(keyed).known == found.known


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": [1]}'])
def test_a_tag_of_extremes_that_somebody_has_changed_is_none(text):
    assert Extremes.of({EXTREMES_TAG: text}, ["a"]).and_those_of([("a", reading("a", 1.0))]).known == {}


def test_a_summary_names_what_a_training_is_judged_by_first_and_no_more_than_fits():
    latest = {
        "loss_step": 1.0,
        "loss_epoch": 1.0,
        "system/x": 1.0,
        "only_step": 1.0,
        **{f"m{n}": 1.0 for n in range(9)},
    }
    text = summary(None, None, {**latest, "val_loss": math.nan}, {"val_loss": Extreme(1.0, 1, 2.0, 2)}, [])
    ended, values = text.split("\n\n")
    lines = values.splitlines()
    assert ended == "**Killed or lost**"
    assert lines[:2] == ["- `val_loss`: last nan, lowest 1 (step 1), highest 2 (step 2)", "- `loss_epoch`: last 1"]
    assert (len(lines), lines[-1]) == (11, "- and 2 more")
    assert summary("failed", 1500, {}, {}, []) == "**Failed** after 1.5 s"


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://github.com/a/b", "[code abcdef0](https://github.com/a/b/commit/abcdef0123) with changes"),
        ("https://bitbucket.org/a/b", "[code abcdef0](https://bitbucket.org/a/b/commits/abcdef0123) with changes"),
        ("file:///home/ada/b", None),
    ],
)
def test_links(url, link):
    tags = {"mlflow.source.git.repoURL": url, "mlflow.source.git.commit": "abcdef0123"}
    tags |= {"mlflow.resource.tracelet.vcs.dirty": "True", semconv.VERDICT: "balanced", TRACEBACK_TAG: "…"}
    assert links(tags, "1", "2") == [
        *([link] if link else []),
        "[where the time went](#/experiments/1/runs/2/traces?workflowType=machine_learning)",
        "[why it failed](#/experiments/1/runs/2/artifacts/exception.txt?workflowType=machine_learning)",
    ]


SETTINGS = {"name": "Adam", "lr": "0.1", "betas": "(0.9, 0.999)"}
OURS = {f"lightning/optimizer_0/{name}": Param(text) for name, text in SETTINGS.items()}


def test_the_optimizer_has_short_names_when_no_user_can_have_them_any_more(backend, client, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.log_params({**OURS, "lightning/optimizer_1/name": Param("SGD")})
    assert "betas" not in found(client, identity).data.params
    # Late, and another value than ours.
    tracker.log_params({"lr": Param("3")})
    tracker.close(semconv.OUTCOME_FINISHED)
    run = found(client, identity).data
    short = {name: run.params.get(name) for name in ("optimizer_name", "lr", "betas", "name")}
    assert short == {"optimizer_name": "Adam", "lr": "3", "betas": "(0.9, 0.999)", "name": None}
    assert not [tag for tag in run.tags if tag.startswith("tracelet.param.")]


def test_what_another_writer_has_stored_of_it_stays_and_the_run_ends(backend, client, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.log_params(OURS)
    client.log_param(found(client, identity).info.run_id, "lr", "theirs")
    tracker.close(semconv.OUTCOME_FINISHED)
    run = found(client, identity)
    assert (run.data.params["lr"], run.data.params["optimizer_name"]) == ("theirs", "Adam")
    assert run.info.status == "FINISHED"
