"""What the page for who comes from another logger tells its reader to do."""

from __future__ import annotations

from mlflow import MlflowClient

import tracelet_otel as tracelet
from tests.integration.conftest import IN_PROCESS

pytestmark = IN_PROCESS


def test_files_are_where_the_experiment_has_its_artifacts(database, tmp_path):
    """In place of MLFlowLogger's `artifact_location`: the experiment is made before."""
    elsewhere = tmp_path / "elsewhere"
    MlflowClient(f"sqlite:///{database}").create_experiment("ours", elsewhere.as_uri())
    with tracelet.start_logging(project="ours") as run:
        run.log_text("answer", "42")
    (stored,) = elsewhere.rglob("answer.txt")
    assert stored.read_text() == "42"
    assert run.errors == {}
