"""A script with a `LightningCLI` that has never heard of us, under `opentelemetry-instrument`."""

from __future__ import annotations

from pathlib import Path

import yaml
from mlflow import MlflowClient

from tests.support.mlflow_store import stored_run
from tests.support.waiting import wait_until


def test_what_it_has_read_is_there(instrumented, database):
    child = instrumented("command_line.py", "mlflow", TRACELET_TRACK_ENVIRONMENT="true")
    assert child.returncode == 0, child.stderr
    wait_until(lambda: stored_run(database).status == "FINISHED", 60, "the run's end")
    run = stored_run(database)
    assert (run.params["model.lr"], run.params["model.head.init_args.width"]) == ("0.5", "7")
    client = MlflowClient(f"sqlite:///{database}")
    config = yaml.safe_load(Path(client.download_artifacts(run.run_id, "config.yaml")).read_text())
    assert config["model"]["lr"] == 0.5
