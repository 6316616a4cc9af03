"""Training with us and without us, in processes of one seed, is the same in all that can be seen."""

from __future__ import annotations

import json

import pytest

from tests.integration.conftest import WHO

SCRIPT = """
import atexit, hashlib, json, pickle, random, signal, sys, warnings
caught = []
warnings.showwarning = lambda message, category, *_: caught.append(f"{category.__name__}: {message}")
warnings.simplefilter("always")

import numpy, torch
import lightning.pytorch as pl
from tests.support.trainings import loader, regression

who, loggers = sys.argv[1:]
before = {"hook": sys.excepthook, "signals": {s: signal.getsignal(s) for s in signal.valid_signals()}}
pl.seed_everything(5, verbose=False)
if who != "nobody":
    quiet = warnings.catch_warnings()
    quiet.__enter__(); warnings.simplefilter("ignore")  # what MLflow's own imports warn of is not the training's
    import tracelet_otel as tracelet
    import mlflow
    quiet.__exit__()
    tracelet.start_logging(backend_url="sqlite:///mlflow.db", config={"export_interval": 0.01})
logger = {"off": False, "default": True,
          "several": [pl.loggers.CSVLogger("csv"), pl.loggers.TensorBoardLogger("tb")]}[loggers]
caught.clear()

dropout = regression(pl)
dropout.layer = torch.nn.Sequential(torch.nn.Dropout(0.2), torch.nn.Linear(4, 1))
trainer = pl.Trainer(max_epochs=3, logger=logger, accelerator="cpu", enable_progress_bar=False, log_every_n_steps=1,
                     callbacks=[pl.callbacks.ModelCheckpoint(monitor="val/loss", save_top_k=-1, save_last=True)],
                     enable_model_summary=False)
trainer.fit(dropout, loader(shuffle=True), loader(16, seed=1))
trainer.test(dropout, loader(16, seed=2), verbose=False)

def digest(thing):
    if isinstance(thing, torch.Tensor):
        return [str(thing.dtype), hashlib.sha256(thing.detach().numpy().tobytes()).hexdigest()]
    if isinstance(thing, dict):
        return {str(key): digest(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [digest(value) for value in thing]
    return repr(thing) if isinstance(thing, (int, float, str, bool, type(None))) else type(thing).__name__

import pathlib
seen = {
    "weights": digest(dropout.state_dict()),
    "python": hashlib.sha256(repr(random.getstate()).encode()).hexdigest(),
    "numpy": hashlib.sha256(repr(numpy.random.get_state()).encode()).hexdigest(),
    "torch": digest(torch.get_rng_state()),
    "checkpoints": {str(path): digest(torch.load(path, weights_only=False))
                    for path in sorted(pathlib.Path().rglob("*.ckpt"))},
    "loggers": [type(one).__name__ for one in trainer.loggers],
    "log_dir": trainer.log_dir,
    "callbacks": [type(one).__name__ for one in trainer.callbacks],
    "callback_metrics": {name: value.item() for name, value in trainer.callback_metrics.items()},
    "warnings": caught,
    "excepthook": sys.excepthook is before["hook"],
    "signals": {s: signal.getsignal(s) for s in signal.valid_signals()} == before["signals"],
    "files": sorted(str(path) for path in pathlib.Path().rglob("*") if path.suffix in (".csv", ".yaml")),
}
if who != "nobody":
    run = tracelet.get_active_run()
    tracelet.stop_logging()
    assert run.errors == {} and run.accounts["mlflow"].delivered > 100, (run.errors, run.accounts)
json.dump(seen, open(sys.argv[0] + ".json", "w"), sort_keys=True)
sys.exit(3)
"""


@pytest.fixture(autouse=True)
def mode():
    """Each test has both, beside one run of its script without us."""


@pytest.mark.parametrize(
    "loggers", ["off", *(pytest.param(one, marks=pytest.mark.slow) for one in ("default", "several"))]
)
def test_nothing_differs(python, database, tmp_path, monkeypatch, request, loggers):
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    seen = {}
    for who, relay in WHO.items():
        home = tmp_path / who
        home.mkdir()
        monkeypatch.chdir(home)
        (home / "mlflow.db").write_bytes(database.read_bytes())
        # All run in directories of their own under one relative path, so paths can be compared.
        child = python(f"import os; os.chdir({str(home)!r})\n{SCRIPT}", who, loggers, TRACELET_RELAY=relay)
        assert child.returncode == 3, child.stderr
        text = (tmp_path / "script.py.json").read_text()
        seen[who] = json.loads(text.replace(str(home), ""))
    assert seen["nobody"]["checkpoints"], "no checkpoint was written: the test would compare nothing"
    assert seen["in process"] == seen["nobody"]
    assert seen["relay"] == seen["nobody"]


@pytest.mark.slow
def test_a_compiled_module_has_the_same_graphs(python, database, monkeypatch, request):
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    counts = []
    for who, relay in WHO.items():
        child = python(
            """
import warnings; warnings.simplefilter("ignore")
import sys, torch
from torch._dynamo.testing import CompileCounter
import lightning.pytorch as pl
import tracelet_otel as tracelet
from tests.support.trainings import Training, regression
if sys.argv[1] != "nobody":
    tracelet.start_logging()
counter = CompileCounter()
def compiled(pl):
    module = regression(pl)
    module.layer = torch.compile(module.layer, backend=counter)
    return module
Training(module=compiled)(pl, False)
print("graphs", counter.frame_count, counter.op_count)
""",
            who,
            TRACELET_RELAY=relay,
        )
        assert child.returncode == 0, child.stderr
        counts.append(child.stdout.splitlines()[-1])
    assert counts[0] != "graphs 0 0"
    assert set(counts) == {counts[0]}
