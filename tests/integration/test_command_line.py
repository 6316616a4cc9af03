"""What `LightningCLI` has read is in the run: its `config.yaml`, and its arguments by their names."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from mlflow import MlflowClient

import tracelet_otel as tracelet
from tests.integration.conftest import IN_PROCESS
from tests.support.clearml_files import session
from tests.support.command_line import DEFAULTS, command_line
from tests.support.mlflow_store import stored_run, stored_runs
from tests.support.waiting import wait_until
from tests.support.wandb_files import offline_files, offline_run
from tracelet_otel.instrumentation.lightning.secret_arguments import arguments_by_name, yaml_without_secrets

pytestmark = pytest.mark.usefixtures("with_environment")
OFTEN = {"export_interval": 0.05}
SGD = ["--optimizer=SGD", "--optimizer.lr=0.25"]
PLAIN = ["--model.lr=0.5", "--model.head.width=7", "--data.batch_size=4", *SGD]
NESTED = [
    "--model=tests.support.command_line.Net", "--model.lr=0.5", "--model.head.width=7",
    "--data=tests.support.command_line.Rows", "--data.batch_size=4", *SGD,
]  # fmt: skip


@pytest.fixture(autouse=True)
def cli(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    return importlib.import_module("lightning.pytorch.cli")


def config_of(database: Path) -> str | None:
    """The artifact `config.yaml` of the only run."""
    client, run_id = MlflowClient(f"sqlite:///{database}"), stored_run(database).run_id
    if "config.yaml" not in [one.path for one in client.list_artifacts(run_id)]:
        return None
    return Path(client.download_artifacts(run_id, "config.yaml")).read_text()


def recorded(cli: Any, args: list[str], **options: Any) -> None:
    with tracelet.start_logging(config=OFTEN) as run:
        command_line(cli, args, **options)
    assert run.errors == {}


def test_the_file_is_the_one_that_lightning_writes(cli, tmp_path, database):
    recorded(cli, ["fit", "--trainer.default_root_dir=out", *PLAIN])
    text = config_of(database)
    assert text == (tmp_path / "out" / "config.yaml").read_text()
    config = yaml.safe_load(text)
    assert (config["model"]["lr"], config["data"], config["seed_everything"]) == (0.5, {"batch_size": 4}, 1)
    params = stored_run(database).params
    names = ("seed_everything", "model.lr", "data.batch_size", "trainer.max_epochs")
    assert [params[name] for name in names] == ["1", "0.5", "4", "1"]
    # What a link has set, and what is nested.
    assert params["model.batch_size"] == "4"
    assert params["model.head.init_args.width"] == "7"
    assert (params["optimizer.class_path"], params["optimizer.init_args.lr"]) == ("torch.optim.SGD", "0.25")
    assert len([point for point in stored_run(database).points if point[0] == "loss"]) == 2


@IN_PROCESS
@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize("subclasses", [False, True])
def test_it_is_there_also_where_lightning_writes_no_file(cli, tmp_path, database, subclasses, saved):
    options = {} if saved else {"save_config_callback": None}
    recorded(cli, ["fit", *(NESTED if subclasses else PLAIN)], subclasses=subclasses, **options)
    assert (tmp_path / "config.yaml").exists() == saved
    params, inside = stored_run(database).params, "init_args." if subclasses else ""
    assert params[f"model.{inside}lr"] == "0.5"
    assert params[f"model.{inside}batch_size"] == params[f"data.{inside}batch_size"] == "4"
    assert params.get("model.class_path") == ("tests.support.command_line.Net" if subclasses else None)


def test_it_is_the_same_text_where_lightning_writes_no_file(cli, tmp_path, database):
    recorded(cli, ["fit", *PLAIN], save_config_callback=None)
    text = config_of(database)
    command_line(cli, ["fit", *PLAIN])
    assert text == (tmp_path / "config.yaml").read_text()


@pytest.mark.parametrize("begun", ["before", "after"])
def test_without_a_subcommand(cli, tmp_path, database, begun):
    made: list[Any] = []

    def make() -> None:
        made.append(command_line(cli, PLAIN, run=False))

    if begun == "after":
        make()
    with tracelet.start_logging(config=OFTEN) as run:
        if begun == "before":
            make()
        (line,) = made
        line.trainer.fit(line.model, line.datamodule)
    assert run.errors == {}
    assert config_of(database) == (tmp_path / "config.yaml").read_text()
    assert stored_run(database).params["model.lr"] == "0.5"


@IN_PROCESS
def test_two_command_lines_in_one_process(cli, database):
    """Each run has its own, and a trainer that none has made has none."""
    pl = importlib.import_module("lightning.pytorch")
    others = ["--model.head.width=7", *SGD]
    before = command_line(cli, ["--model.lr=0.5", *others], run=False, save_config_callback=None)
    with tracelet.start_logging("first", config=OFTEN):
        first = command_line(cli, ["--model.lr=0.25", *others], run=False, save_config_callback=None)
        first.trainer.fit(first.model, first.datamodule)
    with tracelet.start_logging("second", config=OFTEN):
        # It was made while nothing was recorded, and Lightning writes no file of it.
        before.trainer.fit(before.model, before.datamodule)
        pl.Trainer(**DEFAULTS).fit(before.model, before.datamodule)
    runs = stored_runs(database)
    assert [run.params.get("model.lr") for run in runs] == ["0.25", None]


def test_nothing_of_the_command_line_is_changed(cli, tmp_path, database):
    def trained() -> tuple[Any, ...]:
        line = command_line(
            cli, ["fit", "--trainer.default_root_dir=out", *PLAIN], save_config_kwargs={"overwrite": True}
        )
        weights = [one.tolist() for one in line.model.parameters()]
        callbacks = [type(one).__name__ for one in line.trainer.callbacks]
        state = (torch.get_rng_state().tolist(), str(Path.cwd()))
        return weights, callbacks, state, line.parser.dump(line.config), json.dumps(line.config_dump, default=str)

    alone = trained()
    with tracelet.start_logging(config=OFTEN):
        assert trained() == alone
    assert vars(cli.LightningCLI)["instantiate_classes"].__module__ == "lightning.pytorch.cli"


def test_each_tracker_has_it(cli, tmp_path, database, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    with tracelet.start_logging("all", backend=["mlflow", "wandb", "clearml"], config=OFTEN) as run:
        command_line(cli, ["fit", *PLAIN, "--model.head.api_key=@it's sEcReT-1"])
    text = (tmp_path / "config.yaml").read_text()
    hidden = text.replace("'@it''s sEcReT-1'", "'***'")
    assert hidden != text
    assert config_of(database) == hidden
    assert stored_run(database).params["model.head.init_args.api_key"] == "***"
    (path,) = {path.resolve() for path in offline_files(tmp_path / "wandb", run.id)}
    wait_until(lambda: offline_run(path).exit_code is not None, 10, "the end of the file")
    # W&B has a `config.yaml` of its own.
    assert (path.parent / "files" / "artifacts" / "config.yaml").read_text() == hidden
    assert offline_run(path).config["model.lr"] == 0.5
    task = session(tmp_path / "clearml" / "offline" / f"offline-{run.id}.zip")
    assert "config.yaml" in task.artifacts


@IN_PROCESS
def test_a_configuration_that_cannot_be_read_is_said(cli, database, monkeypatch):
    def fails(*_: Any, **__: Any) -> str:
        raise ValueError("no text")

    with tracelet.start_logging(config=OFTEN) as run:
        line = command_line(cli, PLAIN, run=False, save_config_callback=None)
        monkeypatch.setattr(line.parser, "dump", fails)
        line.trainer.fit(line.model, line.datamodule)
    assert list(run.errors) == ["the configuration of the command line is not recorded"]
    assert {name for name, *_ in stored_run(database).points} >= {"loss"}


def test_names_and_secrets() -> None:
    named, hidden = arguments_by_name(
        {
            "model": {
                "lr": 0.1,
                "token": "abc",
                "pad_token": 0,
                "none": {},
                "password": 12345,
                "api_keys": ["k1", "k2"],
            },
            "callbacks": [{"class_path": "A", "init_args": {"api_key": "it's hidden", "size": 1}}],
            "deep": {"er": {"password": "one\ntwo", "key": None, "use_auth": True}},
            "data": {"url": "http://me:pw@host/it's hidden"},
        },
        ["known secret"],
    )
    assert named == {
        "model.lr": 0.1, "model.token": "***", "model.pad_token": 0, "model.none": {}, "model.password": "***",
        "model.api_keys": "['***', '***']",
        "callbacks": "[{'class_path': 'A', 'init_args': {'api_key': ***, 'size': 1}}]",
        "deep.er.password": "***", "deep.er.key": None, "deep.er.use_auth": True, "data.url": "http://***@host/***",
    }  # fmt: skip
    assert hidden == ["abc", "k1", "k2", "it's hidden", "one\ntwo"]


SECRET = 'it\'s "so": # secret ' + "word " * 30


@pytest.mark.parametrize("style", [None, "'", '"', "|", ">"])
def test_a_secret_is_hidden_in_yaml_however_it_is_written(style: str | None) -> None:
    def document(secret: object, number: object) -> dict[str, Any]:
        inner = [{"password": secret, "size": 1}, {"api_keys": [secret, secret], "pad_token": 7}]
        return {"a": {"token": secret, "lr": 0.1}, "callbacks": inner, "pin_secret": number, "key": None, "z": "end"}

    text = yaml.safe_dump(document(SECRET, 4321), default_style=style, sort_keys=False)
    hidden = yaml_without_secrets(text)
    assert yaml.safe_load(hidden) == document("***", "***")
    unharmed = yaml.safe_dump(document(None, None), default_style=style, sort_keys=False)
    assert yaml_without_secrets(unharmed) == unharmed
