from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.utils.mlflow_tags import MLFLOW_GIT_BRANCH, MLFLOW_GIT_COMMIT, MLFLOW_GIT_REPO_URL
from mlflow.utils.validation import _validate_metric_name, _validate_param_name, _validate_tag_name

from tracelet_otel import semconv
from tracelet_otel._support.redact import without_credentials
from tracelet_otel.exporters.mlflow.mapping import (
    MAX_KEY_LENGTH,
    Infinities,
    exact_name_tags,
    exact_names,
    metric_names,
    resource_tags,
    valid_key,
)
from tracelet_otel.protocol.decode import Reading

NAMES = st.one_of(st.text(), st.text(alphabet="ab/.@ :-", max_size=8), st.text(alphabet="a@", min_size=240))


@pytest.mark.parametrize("name", ["loss", "train/loss_step", "a b", "val/acc/dataloader_idx_0", "x" * MAX_KEY_LENGTH])
def test_a_valid_name_stays_as_it_is(name):
    assert valid_key(name) == name


@pytest.mark.parametrize(("name", "key"), [("acc@1", "acc1"), ("größe", "gre"), ("a:b", "ab"), ("50%", "50")])
def test_other_characters_are_left_out_as_lightning_leaves_them_out(name, key):
    assert valid_key(name) == key


@given(NAMES)
@example("../../etc")
@example("a//b")
@example("/")
@example(".")
@example("..a/b")
@example("../..a")
@example(".../0")
@example("../.../..")
@example("損失")
def test_every_key_is_one_that_mlflow_takes(name):
    key = valid_key(name)
    assert len(key) <= MAX_KEY_LENGTH
    _validate_metric_name(key)
    _validate_param_name(key)
    for tag in exact_name_tags([(name, key)]):
        assert len(tag) <= MAX_KEY_LENGTH
        _validate_tag_name(tag)


@given(st.lists(NAMES, unique=True))
def test_two_names_never_become_one(names):
    table = metric_names()
    keys = [table.key(name) for name in names]
    assert len(set(keys)) == len(names)
    assert [table.key(name) for name in names] == keys


@given(st.lists(st.text(alphabet="a@/", min_size=1, max_size=6), unique=True, min_size=1))
def test_a_continued_run_keeps_its_keys(names):
    table = metric_names()
    keys = {name: table.key(name) for name in names}
    again = metric_names(exact_names(exact_name_tags(keys.items()), keys.values()))
    assert {name: again.key(name) for name in reversed(names)} == keys


def test_identity_becomes_tags_under_our_and_mlflows_names():
    attributes = {
        semconv.RUN_ID: "1",
        semconv.PROCESS_OWNER: "ada",
        semconv.PROCESS_PID: 7,
        semconv.VCS_REPOSITORY_URL: "https://host/repo",
        semconv.VCS_REVISION: "abc",
        semconv.VCS_REF_NAME: "main",
        semconv.VCS_DIRTY: True,
    }
    assert resource_tags(attributes) == {
        "tracelet.run.id": "1",
        "mlflow.resource.process.owner": "ada",
        "mlflow.resource.process.pid": "7",
        "mlflow.user": "ada",
        "mlflow.resource.vcs.repository.url.full": "https://host/repo",
        "mlflow.resource.vcs.ref.head.revision": "abc",
        "mlflow.resource.vcs.ref.head.name": "main",
        "mlflow.resource.tracelet.vcs.dirty": "True",
        MLFLOW_GIT_COMMIT: "abc",
        MLFLOW_GIT_BRANCH: "main",
        MLFLOW_GIT_REPO_URL: "https://host/repo",
        "mlflow.source.type": "LOCAL",
    }


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://ada:secret@host:5000/x", "https://host:5000/x"),
        ("postgresql://ada:se@cret@host/db", "postgresql://host/db"),
        ("sqlite:////tmp/a@b/mlflow.db", "sqlite:////tmp/a@b/mlflow.db"),
        ("http://host", "http://host"),
    ],
)
def test_credentials_are_not_shown(uri, shown):
    assert without_credentials(uri) == shown


def infinity(step, value=float("inf")):
    return Reading("a", value, step, step, semconv.AXIS_USER, 0)


@given(st.lists(st.integers(0, 300), unique=True).map(sorted))
def test_infinities_are_told_up_to_a_bound_and_counted_beyond_also_when_replayed(steps):
    once, twice = Infinities(), Infinities()
    for step in steps:
        once.add(infinity(step))
        twice.add(infinity(step))
        twice.add(infinity(step))
    told = [f"+Inf at step {step}" for step in steps[:100]]
    more = f" and {len(steps) - 100} more" if len(steps) > 100 else ""
    assert once.text == twice.text == ", ".join(told) + more
