"""Each example runs as it is started by hand, and what trackers have of it is what it trained."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.support.clearml_files import session
from tests.support.collector import tool
from tests.support.mlflow_store import StoredRun, stored_run
from tests.support.waiting import free_port
from tests.support.wandb_files import offline_files, offline_run

SCRIPTS = Path(__file__).with_name("scripts")
EXAMPLES = Path(__file__).parents[2] / "examples"
ELSEWHERE = {
    "jsonl_tracker": "tests/packaging/test_somebody_elses_tracker.py",
    "notebook.ipynb": "tests/docs/test_notebook.py",
    "README.md": "tests/docs/test_pages.py",
}

pytestmark = pytest.mark.usefixtures("commands", "database")


def shell(command: str, status: int = 0, **environment: str) -> str:
    """What a command says."""
    child = subprocess.Popen(
        ["bash", "-c", command],
        env={**os.environ, "EXAMPLES": str(EXAMPLES), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = child.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGTERM)
        raise
    assert child.returncode == status, errors
    return output


def by_step(stored: StoredRun, name: str) -> list[float]:
    """The values of a metric; each step has one."""
    found = sorted((step, value) for key, step, value, _ in stored.points if key == name)
    assert [step for step, _ in found] == list(range(len(found)))
    return [value for _, value in found]


def test_each_example_has_a_test():
    here = Path(__file__).read_text()
    names = {path.name for path in EXAMPLES.iterdir() if path.name != "__pycache__"}
    assert [name for name in names - ELSEWHERE.keys() if f"$EXAMPLES/{name}" not in here] == []
    index = (EXAMPLES / "README.md").read_text()
    assert [name for name in names - {"README.md"} if f"]({name}" not in index] == []


def test_digits(database):
    said = shell("python $EXAMPLES/digits.py --epochs 1")
    stored = stored_run(database)
    assert (stored.status, stored.experiment, stored.name) == ("FINISHED", "digits", "lightning_experiment")
    shown = {
        row[0]: float(row[4]) for row in (re.split(r"\s*│\s*", line)[1:-1] for line in said.splitlines()) if row[4:]
    }
    last = {name: value for name, _, value, _ in sorted(stored.points, key=lambda point: point[1])}
    assert shown == {name: pytest.approx(value, abs=1e-4) for name, value in last.items()}
    assert {"train/loss_step", "train/loss_epoch", "val/accuracy", "test/accuracy"} < shown.keys()


@pytest.mark.parametrize(
    "command",
    [
        "tracelet-otel run --backend mlflow --project examples python",
        (
            "OTEL_METRICS_EXPORTER=mlflow OTEL_TRACES_EXPORTER=none OTEL_LOGS_EXPORTER=none "
            "opentelemetry-instrument python"
        ),
    ],
    ids=["run", "opentelemetry-instrument"],
)
def test_a_training_that_has_never_heard_of_us(database, command):
    assert "tracelet" not in (EXAMPLES / "zero_code.py").read_text().rpartition('"""')[2]
    said = shell(f"{command} $EXAMPLES/zero_code.py")
    stored = stored_run(database)
    losses = by_step(stored, "train/loss")
    assert (stored.status, stored.params["learning_rate"], len(losses)) == ("FINISHED", "0.05", 40)
    assert f"train/loss is {losses[-1]:.6f}\n" in said


def test_three_trackers_have_the_same(tmp_path, database):
    shell("python $EXAMPLES/three_trackers.py")
    stored = stored_run(database)
    values = stored.multiset
    assert {"train/loss_step", "val/loss"} < {name for name, _, _ in values}
    [path] = [path for path in offline_files(tmp_path / "wandb") if not path.parent.is_symlink()]
    of_wandb = offline_run(path)
    assert values == Counter(
        (name, int(row["trainer/global_step"]), float(value))
        for row in of_wandb.rows
        for name, value in row.items()
        if name != "trainer/global_step" and not name.startswith("_")
    )
    [archive] = (tmp_path / "clearml" / "offline").glob("*.zip")
    of_clearml = session(archive)
    assert values.keys() == {
        (title if title == series else f"{title}/{series}", step, value)
        for (title, series, step), (value, _) in of_clearml.points.items()
    }
    assert (stored.tags["team"], stored.note) == ("vision", "The same values, three times.")
    assert "team:vision" in of_wandb.tags
    assert "team:vision" in of_clearml.tags


def test_two_ranks_have_one_run(database):
    shell("python $EXAMPLES/ddp.py")
    stored = stored_run(database)
    means, worst = by_step(stored, "train/loss"), by_step(stored, "train/worst_loss")
    assert (stored.status, len(means)) == ("FINISHED", 10)
    assert all(mean < one < 2 * mean for mean, one in zip(means, worst, strict=True))
    assert by_step(stored, "train/samples") == [32] * 10


def test_a_killed_training_goes_on_with_its_run(database):
    shell("python $EXAMPLES/resumed.py --killed-at 30", 128 + signal.SIGKILL)
    said = shell("python $EXAMPLES/resumed.py")
    stored = stored_run(database)
    steps = Counter(step for name, step, _, _ in stored.points if name == "train/loss")
    assert stored.status == "FINISHED"
    assert steps == {step: 2 if 20 <= step < 30 else 1 for step in range(60)}
    assert said.startswith("tracelet.run.attempt: 2\ntracelet.run.lost_steps: 10\n")


def test_a_training_that_diverges(database):
    said = shell("python $EXAMPLES/diverging.py")
    stored = stored_run(database)
    losses = by_step(stored, "train/loss")
    numbers = [value for value in losses if math.isfinite(value)]
    assert losses[: len(numbers)] == numbers
    assert len(numbers) < len(losses) == 64
    assert f"is {numbers[-1]:.3g}, at step {len(numbers) - 1} of 64." in said
    assert f"Infinite: +Inf at step {len(numbers)}, " in said
    assert "- `train/loss`: last nan, " in said


def test_prometheus_from_nothing():
    ports = {"OTLP_PORT": str(free_port()), "PROMETHEUS_PORT": str(free_port())}
    for name in ("otelcol", "prometheus", "promtool"):
        tool(name)
    said = shell("$EXAMPLES/prometheus/run.sh", **ports)
    [trained] = re.findall(r"last loss: (\S+)", said)
    [found] = re.findall(r"train_loss\{.*tracelet_run_name=\"first run\".*\} => (\S+) @", said)
    assert float(found) == pytest.approx(float(trained), rel=1e-6)
