"""What the trackers' own clients say of a run: its command line, its packages, a summary of its module."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import lightning.pytorch as pl
import torch
from mlflow import MlflowClient

from tests.support.clearml_files import session
from tests.support.mlflow_store import stored_run
from tests.support.quiet import quiet_trainer
from tests.support.trainings import loader, regression
from tests.support.waiting import wait_until
from tests.support.wandb_files import offline_files, offline_run
from tracelet_otel import get_active_run, start_logging
from tracelet_otel.instrumentation.lightning.module_summary import parts_of, summary_of

ARGUMENTS = ["ours", "20", "--lr=3", "--api-key", "sEcReT"]
SHOWN = ["ours", "20", "--lr=3", "--api-key", "***"]
SUMMARY = """Regression: 5 parameters, 5 of them trainable

Name   Type    Parameters  Trainable  Mode
------------------------------------------
layer  Linear           5          5  train
"""


def files_in_mlflow(database):
    client, run_id = MlflowClient(f"sqlite:///{database}"), stored_run(database).run_id
    return {
        one.path: Path(client.download_artifacts(run_id, one.path)).read_text() for one in client.list_artifacts(run_id)
    }


def test_each_tracker_has_it_where_its_own_client_puts_it(run, tmp_path, database):
    environment = {"WANDB_MODE": "offline", "TRACELET_TRACK_ENVIRONMENT": "true"}
    child = run("described.py", *ARGUMENTS, **environment)
    assert child.returncode == 0, child.stderr
    said = json.loads(child.stdout.splitlines()[-1])
    assert said["errors"] == {}
    assert said["name"].startswith("described-")

    stored = stored_run(database)
    script = stored.tags["mlflow.source.name"]
    assert script.endswith("described.py")
    assert stored.tags["process.command_line"] == f"{script} ours 20 --lr=3 --api-key '***'"
    files = files_in_mlflow(database)
    packages = files["requirements.txt"]
    assert f"mlflow=={importlib.metadata.version('mlflow')}\n" in packages
    assert files == {"requirements.txt": packages, "model_summary.txt": SUMMARY}
    short = {name: stored.params[name] for name in ("optimizer_name", "lr", "momentum")}
    assert short == {"optimizer_name": "SGD", "lr": "0.05", "momentum": "0"}

    (path,) = {path.resolve() for path in offline_files(tmp_path / "wandb", said["id"])}
    wait_until(lambda: offline_run(path).exit_code is not None, 10, "the end of the file")
    found = offline_run(path)
    assert found.environment["args"] == SHOWN
    assert found.environment["program"].endswith("described.py")
    assert sorted(found.files) == ["model_summary.txt", "requirements.txt"]
    assert (path.parent / "files" / "requirements.txt").read_text() == packages
    assert (path.parent / "files" / "model_summary.txt").read_text() == SUMMARY

    task = session(tmp_path / "clearml" / "offline" / f"offline-{said['id']}.zip")
    assert task.script["entry_point"] == script
    assert task.script["requirements"] == {"pip": packages}
    assert task.arguments == {"1": "ours", "2": "20", "lr": "3", "api-key": "***"}
    assert sorted(task.artifacts) == ["model_summary.txt", "requirements.txt"]

    everything = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [content for content in everything if b"sEcReT" in content]


def test_it_can_be_turned_off(tmp_path, database):
    with start_logging(config={"track_environment": False}):
        quiet_trainer(pl, max_epochs=1).fit(regression(pl), loader())
    stored = stored_run(database)
    assert not [name for name in stored.tags if "process.command_" in name]
    assert files_in_mlflow(database) == {}


def test_a_file_of_the_users_own_stays(tmp_path, database):
    with start_logging(config={"track_environment": True}) as begun:
        get_active_run().log_text("model_summary.txt", "theirs")
        quiet_trainer(pl, max_epochs=1).fit(regression(pl), loader())
    assert begun.errors == {}
    files = files_in_mlflow(database)
    assert sorted(files) == ["model_summary.txt", "requirements.txt"]
    assert files["model_summary.txt"] == "theirs"


class Shared(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(2, 2, bias=False)
        self.second = torch.nn.ModuleDict({"again": self.first, "lazy": torch.nn.LazyLinear(1)})
        self.frozen = torch.nn.Linear(2, 1).requires_grad_(requires_grad=False).eval()


def test_a_summary_counts_what_is_known():
    trainer = quiet_trainer(pl)
    module = regression(pl)
    module.layer = Shared()
    trainer.strategy._lightning_module = module
    assert summary_of(parts_of(trainer)) == (
        "Regression: ? parameters, ? of them trainable\n"
        "\n"
        "Name               Type        Parameters  Trainable  Mode\n"
        "----------------------------------------------------------\n"
        "layer              Shared               ?          ?  train\n"
        "layer.first        Linear               4          4  train\n"
        "layer.second       ModuleDict           ?          ?  train\n"
        "layer.second.lazy  LazyLinear           ?          ?  train\n"
        "layer.frozen       Linear               3          0  eval\n"
    )


class FSDPStrategy:
    """As Lightning names it."""


def test_there_is_none_where_a_process_has_a_part_of_each_parameter_only():
    class Trainer:
        strategy = FSDPStrategy()

    assert parts_of(Trainer()) is None


def test_a_run_that_only_tries_has_none(tmp_path, database):
    with start_logging(config={"track_environment": True}):
        quiet_trainer(pl, max_epochs=1, fast_dev_run=True).fit(regression(pl), loader())
    assert list(files_in_mlflow(database)) == ["requirements.txt"]
