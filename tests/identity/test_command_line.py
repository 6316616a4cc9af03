"""The command line of a run, and the name of a notebook."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.clearml.mapping import arguments_by_name, description
from tracelet_otel.exporters.mlflow.mapping import resource_tags
from tracelet_otel.protocol.run_identity import run_identity
from tracelet_otel.resource.command_line import command_attributes
from tracelet_otel.resource.process import process_identity
from tracelet_otel.resource.run_resource import default_run_name, run_resource
from tracelet_otel.resource.script import code_directories, script_name

KERNEL = ["/venv/lib/ipykernel_launcher.py", "-f", "/run/kernel-1.json"]


def resource(**options):
    return run_resource("1", "name", "project", semconv.RANKS_MERGED, **options).attributes


def test_arguments_are_kept_and_secrets_are_not(monkeypatch):
    monkeypatch.setenv("OUR_TOKEN", "of-the-environment")
    monkeypatch.setattr(sys, "argv", ["train.py", "ours", "20", "--api-key", "sEcReT", "of-the-environment"])
    found = resource()
    assert found["process.command"] == "train.py"
    assert found["process.command_args"] == ("train.py", "ours", "20", "--api-key", "***", "***")


def test_what_others_say_of_the_command_line_is_not_kept_with_its_secrets(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--token=sEcReT"])
    monkeypatch.setenv("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "process")
    for wanted in (True, False):
        found = resource(track_environment=wanted)
        assert "sEcReT" not in str(dict(found))
        assert ("process.command_args" in found) == wanted


def test_the_detector_has_it_unless_it_is_turned_off(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "ours"])
    assert process_identity({}, Guard())["process.command_args"] == ("train.py", "ours")
    assert "process.command_args" not in process_identity({"TRACELET_TRACK_ENVIRONMENT": "false"}, Guard())


def test_a_long_command_line_is_cut_and_says_so(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "x" * 600, *(f"--option-{n}=1" for n in range(1000))])
    shown = command_attributes()["process.command_args"]
    assert (len(shown[1]), shown[1][-1]) == (500, "…")
    assert shown[-1] == f"… and {1002 - (len(shown) - 1)} more"
    assert 3900 < sum(len(one) + 1 for one in shown[:-1]) <= 4000


def test_half_of_a_known_secret_is_not_left_where_an_argument_is_cut(monkeypatch):
    monkeypatch.setenv("OUR_TOKEN", "sEcReT" * 20)
    monkeypatch.setattr(sys, "argv", ["train.py", "x" * 450 + "sEcReT" * 20])
    assert "sEcReT" not in command_attributes()["process.command_args"][1]


def test_mlflow_has_the_script_as_its_own_client_and_the_arguments_beside(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "a b", "--lr=3"])
    tags = resource_tags(resource())
    assert tags["mlflow.source.name"] == "train.py"
    assert tags["process.command_line"] == "train.py 'a b' --lr=3"
    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert "process.command_line" not in resource_tags(resource())


@pytest.mark.parametrize(
    ("arguments", "by_name"),
    [
        ([], {}),
        (["ours", "20"], {"1": "ours", "2": "20"}),
        (["--lr", "3", "--fast", "-v"], {"lr": "3", "fast": "True", "v": "True"}),
        (["--layers", "1", "-2", "--layers", "3"], {"layers": "1 -2 3"}),
        (["fit", "--lr=3", "data", "model.width=7"], {"1": "fit", "lr": "3", "2": "data", "model.width": "7"}),
        (["--config=a=b", "--empty=", "--", "=x"], {"config": "a=b", "empty": "", "1": "--", "2": "=x"}),
    ],
)
def test_clearml_has_arguments_by_name(monkeypatch, arguments, by_name):
    assert arguments_by_name(arguments) == by_name
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    task = description(run_identity(resource()))
    assert task["script"]["entry_point"] == "train.py"
    assert {name: item["value"] for name, item in task["hyperparams"].get("Args", {}).items()} == by_name


@pytest.fixture
def notebook(monkeypatch, tmp_path):
    """The process of a notebook's kernel."""
    monkeypatch.setattr(sys, "argv", KERNEL)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    return tmp_path / "my study.ipynb"


def test_a_notebook_of_jupyter_has_its_name(monkeypatch, notebook):
    notebook.touch()
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    assert script_name() == str(notebook)
    assert default_run_name().startswith("my study-")
    assert next(code_directories()) == notebook.parent
    assert command_attributes()["process.command_args"] == (str(notebook),)


def test_a_notebook_of_vs_code_has_its_name(monkeypatch, notebook):
    main = ModuleType("__main__")
    main.__vsc_ipynb_file__ = str(notebook)
    monkeypatch.setitem(sys.modules, "__main__", main)
    # VS Code gives Jupyter's server another name.
    monkeypatch.setenv("JPY_SESSION_NAME", "my study-jvsc-1.ipynb")
    assert script_name() == str(notebook)


def test_a_notebook_without_a_name_is_one(monkeypatch, notebook):
    assert script_name() == "notebook"
    monkeypatch.setenv("JPY_SESSION_NAME", f"{notebook.parent}/")
    assert (script_name(), default_run_name().split("-")[0]) == ("notebook", "notebook")


def test_a_script_that_a_notebook_starts_is_no_notebook(tmp_path):
    script = tmp_path / "train.py"
    script.write_text("from tracelet_otel.resource.script import script_name\nprint(script_name())")
    child = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, env={"JPY_SESSION_NAME": "x.ipynb"}
    )
    assert Path(child.stdout.strip()) == script
