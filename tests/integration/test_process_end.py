"""Every way in which a process can end, and forks, as real processes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.mlflow_store import multiset, stored_run

TRAIN = """
import warnings; warnings.simplefilter("ignore")
import tracelet_otel as tracelet
import lightning.pytorch as pl
from tests.support.trainings import Training, loader, regression
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch, request):
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))


def test_a_script_that_never_stops_delivers_everything_and_ends_the_run(python, database):
    child = python(
        """
import tracelet_otel as tracelet
run = tracelet.start_logging(config={"export_interval": 3600})
for step in range(3000):
    run.log_metric("loss", step / 3, step)
"""
    )
    assert (child.returncode, child.stderr) == (0, "")
    stored = stored_run(database)
    assert stored.multiset == multiset(("loss", step, step / 3) for step in range(3000))
    assert stored.status == "FINISHED"


@pytest.mark.parametrize(
    ("end", "code", "status"),
    [
        ("raise ValueError('a bug')", 1, "FAILED"),
        ("raise KeyboardInterrupt", -2, "KILLED"),
        ("sys.exit(0)", 0, "FINISHED"),
        ("sys.exit(3)", 3, "FINISHED"),
    ],
)
def test_the_outcome_of_a_script_that_never_stops(python, database, end, code, status):
    child = python(
        f"""
import sys
import tracelet_otel as tracelet
tracelet.start_logging().log_metric("loss", 1.0, 0)
{end}
"""
    )
    assert child.returncode == code
    assert "tracelet" not in child.stderr.replace("script.py", "")
    stored = stored_run(database)
    assert stored.multiset == multiset([("loss", 0, 1.0)])
    assert stored.status == status


@pytest.mark.slow
def test_forked_dataloader_workers_deliver_nothing_twice(python, database):
    script = (
        TRAIN
        + """
import sys
training = Training(run=lambda trainer, module: trainer.fit(
    module,
    loader(64, num_workers=2, multiprocessing_context="fork"),
    loader(16, seed=1, num_workers=2, multiprocessing_context="fork"),
))
if sys.argv[1] == "ours":
    tracelet.start_logging(config={"export_interval": 0.01})
    training(pl, False)
else:
    training(pl, pl.loggers.MLFlowLogger("native", tracking_uri="sqlite:///native.db"))
"""
    )
    for who in ("ours", "native"):
        child = python(script, who)
        assert child.returncode == 0, child.stderr
    stored = stored_run(database)
    assert stored.multiset == stored_run(database.with_name("native.db")).multiset
    assert stored.status == "FINISHED"


def test_a_forked_child_that_exits_normally_does_not_end_its_parents_run(python, database):
    child = python(
        """
import os, sys
import tracelet_otel as tracelet
run = tracelet.start_logging(config={"export_interval": 0.01})
run.log_metric("loss", 1.0, 0)
pid = os.fork()
if pid == 0:
    assert tracelet.get_active_run() is None
    run.log_metric("loss", 2.0, 0)
    tracelet.stop_logging()
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
run.log_metric("loss", 3.0, 1)
"""
    )
    assert child.returncode == 0, child.stderr
    stored = stored_run(database)
    assert stored.multiset == multiset([("loss", 0, 1.0), ("loss", 1, 3.0)])
    assert stored.status == "FINISHED"


def test_the_lightning_hook_is_put_in_when_lightning_is_imported(python, database):
    child = python(
        """
import warnings; warnings.simplefilter("ignore")
import sys
import tracelet_otel as tracelet
tracelet.start_logging()
assert not {"torch", "lightning", "pytorch_lightning"} & set(sys.modules)
import pytorch_lightning as pl
from tests.support.trainings import Training
Training()(pl, False)
tracelet.stop_logging()
"""
    )
    assert child.returncode == 0, child.stderr
    assert "train/loss_epoch" in {name for name, *_ in stored_run(database).points}


def test_a_backend_that_is_not_installed_is_named_with_the_command(python):
    child = python(
        """
import sys
sys.modules["mlflow"] = None  # what an import finds where the package is absent
import tracelet_otel as tracelet
try:
    tracelet.start_logging(backend="mlflow")
except tracelet.MissingDependencyError as error:
    print(error)
"""
    )
    assert "pip install 'tracelet-otel[mlflow]'" in child.stdout, child.stderr


def test_the_exporter_works_under_anybodys_sdk_configuration(python, database):
    """The stock configurator finds the exporter and the instrumentor by their entry points."""
    (database.parent / "train.py").write_text(
        """
import warnings; warnings.simplefilter("ignore")
import lightning.pytorch as pl
from tests.support.trainings import Training
Training()(pl, False)
"""
    )
    instrument = str(Path(sys.executable).with_name("opentelemetry-instrument"))
    child = python(
        f"import os; os.execv({instrument!r}, [{instrument!r}, {sys.executable!r}, 'train.py'])",
        OTEL_METRICS_EXPORTER="mlflow",
        OTEL_TRACES_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
        OTEL_SERVICE_NAME="zero-code",
    )
    assert child.returncode == 0, child.stderr
    stored = stored_run(database)
    assert (stored.experiment, stored.status) == ("zero-code", "FINISHED")
    assert "train/loss_epoch" in {name for name, *_ in stored.points}


def test_a_long_queue_survives_the_exit_of_somebodys_sdk(python, database):
    child = python(
        """
import warnings; warnings.simplefilter("ignore")
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from tracelet_otel.zero_code.exporters import MlflowMetricExporter
from tracelet_otel.instrumentation.lightning import LightningInstrumentor
metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(MlflowMetricExporter(), 1000)]))
LightningInstrumentor().instrument()
import lightning.pytorch as pl
trainer = pl.Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
for step in range(20_000):
    trainer._logger_connector.log_metrics({"loss": step / 3}, step=step)
""",
    )
    assert child.returncode == 0, child.stderr
    assert stored_run(database).multiset == multiset(("loss", step, step / 3) for step in range(20_000))
