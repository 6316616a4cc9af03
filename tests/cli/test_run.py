"""`tracelet-otel run`: a command is recorded, and is otherwise what it is without us."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.mlflow_store import multiset, stored_run
from tracelet_otel.cli.run import instrumented
from tracelet_otel.errors import ConfigurationError, MissingDependencyError

COMMAND = str(Path(sys.executable).with_name("tracelet-otel"))
TRAINING = Path(__file__).parents[1] / "zero_code" / "scripts" / "train.py"


def start(*words: object, **options: Any) -> subprocess.Popen[str]:
    command = [COMMAND, "run", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def ended(*words: object) -> tuple[int, str, str]:
    child = start(*words)
    output, errors = child.communicate(timeout=240)
    return child.returncode, output, errors


@pytest.mark.cold
def test_a_training_in_a_shell_script_is_recorded_and_all_else_is_as_without_us(tmp_path, database):
    job = tmp_path / "job.sh"
    job.write_text(f'echo before "$@"\n{sys.executable} {TRAINING} || exit 1\necho after\nexit 5\n')
    options = ["--backend", "mlflow", "--project", "commands", "--name", "by hand", "--setting", "tags=team=vision"]
    assert ended(*options, "bash", job, "--backend", "wandb") == (5, "before --backend wandb\nafter\n", "")
    stored = stored_run(database)
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert stored.multiset == multiset((name, step, value) for row, step in rows for name, value in row.items())
    assert (stored.experiment, stored.name, stored.tags["team"]) == ("commands", "by hand", "vision")
    assert stored.status == "FINISHED"


def test_the_command_is_the_process_that_was_started(tmp_path):
    told = "import os, signal, sys; print(os.getpid(), os.getcwd(), signal.getsignal(signal.SIGPIPE)); print(sys.argv)"
    child = start("sh", "-c", 'echo $$ "$1"; kill -TERM $$', "sh", "a b", cwd=tmp_path)
    output, errors = child.communicate(timeout=60)
    assert (child.returncode, output, errors) == (-signal.SIGTERM, f"{child.pid} a b\n", "")
    (tmp_path / "told.py").write_text(told)
    for words in (["told.py", "--name", "x"], ["-m", "told", "--name", "x"]):
        child = start(*words, cwd=tmp_path)
        output, errors = child.communicate(timeout=60)
        assert (child.returncode, errors) == (0, "")
        process, arguments = output.splitlines()
        # Python itself ignores this signal, in each of its processes.
        assert process == f"{child.pid} {tmp_path} {signal.SIG_IGN}"
        assert arguments.endswith("told.py', '--name', 'x']")
    # A pipe that nobody reads ends the one who writes, as in any shell.
    assert ended("sh", "-c", "yes | head -n 1; exit 3") == (3, "y\n", "")


def test_the_terminal_is_that_of_the_command():
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [COMMAND, "run", "sh", "-c", "test -t 0 && test -t 1 && echo yes"], stdin=theirs, stdout=theirs
    )
    os.close(theirs)
    assert child.wait(60) == 0
    assert os.read(ours, 100) == b"yes\r\n"
    os.close(ours)


def test_ctrl_c_reaches_the_command():
    child = start("sh", "-c", "trap 'echo stopped; exit 9' INT; echo ready; while true; do sleep 0.05; done")
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=60) == ("stopped\n", "")
    assert child.returncode == 9


@pytest.mark.parametrize(
    ("words", "code", "begins"),
    [
        ([], 2, "say what to run, as in `tracelet-otel run python train.py`"),
        (["--setting", "bakend=mlflow", "true"], 2, "unknown config key 'bakend', did you mean 'backend'?"),
        (["--setting", "backend", "true"], 2, "--setting takes NAME=VALUE"),
        (["--setting", "export_interval=soon", "true"], 2, "invalid settings: export_interval"),
        (["--setting", "TRACELET_API_KEY=abc", "true"], 2, "api_key is a secret"),
        (["--backend", "mlfow", "true"], 2, "unknown backend 'mlfow', did you mean 'mlflow'?"),
        (["no-such-command"], 127, "the command 'no-such-command' is not found"),
        (["./there"], 126, "the command './there' cannot be executed"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, words, code, begins):
    (tmp_path / "there").touch()
    returned, output, errors = ended(*words)
    assert (returned, output, errors.count("\n")) == (code, "", 1)
    assert errors.startswith(f"tracelet: {begins}")
    assert "abc" not in errors


def test_options_win_over_variables_and_variables_over_what_is_set_here(monkeypatch):
    own = {
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_TRACES_EXPORTER": "otlp",
        "TRACELET_PROJECT": "theirs",
        "PATH": "/bin",
    }
    found = instrumented(own, {"exp_name": "ours", "project": "ours"})
    path = found.pop("PYTHONPATH")
    assert (Path(path) / "sitecustomize.py").exists()
    assert found == {
        **own,
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        "TRACELET_EXP_NAME": "ours",
        "TRACELET_PROJECT": "ours",
    }
    monkeypatch.setenv("TRACELET_EXPORT_INTERVAL", "5")
    assert instrumented({}, {})["OTEL_METRIC_EXPORT_INTERVAL"] == "5000"
    theirs = {"OTEL_METRIC_EXPORT_INTERVAL": "9", "PYTHONPATH": f"/a{os.pathsep}{path}{os.pathsep}/b"}
    assert instrumented(theirs, {})["OTEL_METRIC_EXPORT_INTERVAL"] == "9"
    assert instrumented(theirs, {"export_interval": "0.5"})["OTEL_METRIC_EXPORT_INTERVAL"] == "500"
    assert instrumented(theirs, {})["PYTHONPATH"] == os.pathsep.join([path, "/a", "/b"])
    assert instrumented(own, {"backend": "clearml"})["OTEL_METRICS_EXPORTER"] == "tracelet"
    with pytest.raises(ConfigurationError, match="backend_url is the address of one backend"):
        instrumented({}, {"backend": "mlflow,clearml", "backend_url": "sqlite:///a.db"})
    monkeypatch.setattr("tracelet_otel.exporters.registry._is_installed", lambda _: False)
    with pytest.raises(MissingDependencyError, match="pip install"):
        instrumented({}, {"backend": "wandb"})


def test_what_is_turned_off_is_said(monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert ended("true") == (0, "", "tracelet: OTEL_SDK_DISABLED is true, so nothing is recorded\n")
