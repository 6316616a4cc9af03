"""A training whose traces of all kinds are written down: `traces.py WHO LOGGERS FILE`; it ends with code 3."""

import hashlib
import json
import random
import signal
import sys
import warnings
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from tests.support.trainings import loader, regression

import tracelet_otel as tracelet

who, loggers, told = sys.argv[1:]
before = {"hook": sys.excepthook, "signals": {s: signal.getsignal(s) for s in signal.valid_signals()}}
pl.seed_everything(5, verbose=False)
if who != "nobody":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what MLflow's own imports warn of is not the training's
        tracelet.start_logging(backend_url="sqlite:///mlflow.db", config={"export_interval": 0.01})
several = [pl.loggers.CSVLogger("csv"), pl.loggers.TensorBoardLogger("tb")]
logger = {"off": False, "default": True, "several": several}[loggers]

caught = []
warnings.showwarning = lambda message, category, *_: caught.append(f"{category.__name__}: {message}")
warnings.simplefilter("always")

dropout = regression(pl)
dropout.layer = torch.nn.Sequential(torch.nn.Dropout(0.2), torch.nn.Linear(4, 1))
trainer = pl.Trainer(
    max_epochs=3,
    logger=logger,
    accelerator="cpu",
    enable_progress_bar=False,
    log_every_n_steps=1,
    callbacks=[pl.callbacks.ModelCheckpoint(monitor="val/loss", save_top_k=-1, save_last=True)],
    enable_model_summary=False,
)
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


seen = {
    "weights": digest(dropout.state_dict()),
    "python": hashlib.sha256(repr(random.getstate()).encode()).hexdigest(),
    "numpy": hashlib.sha256(repr(np.random.get_state()).encode()).hexdigest(),
    "torch": digest(torch.get_rng_state()),
    "checkpoints": {str(path): digest(torch.load(path, weights_only=False)) for path in sorted(Path().rglob("*.ckpt"))},
    "loggers": [type(one).__name__ for one in trainer.loggers],
    "log_dir": trainer.log_dir,
    "callbacks": [type(one).__name__ for one in trainer.callbacks],
    "callback_metrics": {name: value.item() for name, value in trainer.callback_metrics.items()},
    "warnings": caught,
    "excepthook": sys.excepthook is before["hook"],
    "signals": {s: signal.getsignal(s) for s in signal.valid_signals()} == before["signals"],
    "files": sorted(str(path) for path in Path().rglob("*") if path.suffix in (".csv", ".yaml")),
}
if who != "nobody":
    run = tracelet.get_active_run()
    tracelet.stop_logging()
    assert run.errors == {}
    assert run.accounts["mlflow"].delivered > 100, run.accounts
Path(told).write_text(json.dumps(seen, sort_keys=True))
sys.exit(3)
