"""An attempt at a training of 100 steps, with a checkpoint each 50 steps: `attempt.py [BACKEND ...]`.

It logs its number, which ATTEMPT says, or torchrun. The first one is killed before step 70, once the next attempt can
know of that; the others go on to their end. With LEAVES in the environment, MLflow takes nothing, and the relay is
killed first, when it has all values. Without backends nothing here says that it is recorded.
"""

import os
import signal
import sqlite3
import sys
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from tests.again.left import last_attempt
from tests.support.mlflow_store import stored_run
from tests.support.quiet import quiet_trainer
from tests.support.relays import relays
from tests.support.waiting import wait_until
from torch.utils.data import DataLoader

import tracelet_otel as tracelet

backends = sys.argv[1:]
restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT")
number = int(os.environ["ATTEMPT"]) if restarts is None else int(restarts) + 1
KILLED_AT = 70
VALUES = 3 * KILLED_AT  # with the epoch


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.save_hyperparameters({"lr": 0.05})
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        self.log_dict({"loss": 1 / (1 + self.global_step), "by": float(number)})
        return self.layer(batch).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)


def is_known():
    known = last_attempt(Path.cwd())
    return known is not None and known.step == KILLED_AT


def all_are_kept():
    run = tracelet.get_active_run()
    if run is None:
        return len(stored_run(Path("mlflow.db")).points) == VALUES
    return all(one.delivered + one.pending == VALUES for one in run.accounts.values())


class Killed(pl.Callback):
    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == KILLED_AT and trainer.is_global_zero:
            wait_until(is_known, 60, "that the next attempt can know of this")
            wait_until(all_are_kept, 60, "that all values will outlive this process")
            if "LEAVES" in os.environ:
                (relay,) = relays(Path.cwd())
                relay.kill()
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    last = Path("checkpoints/last.ckpt")
    if backends:
        run = tracelet.start_logging(backend=backends, config={"export_interval": 0.1})
    if "LEAVES" in os.environ:
        # SQLite has one writer.
        other = sqlite3.connect("mlflow.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
    saving = ModelCheckpoint("checkpoints", every_n_train_steps=50, save_last=True)
    trainer = quiet_trainer(
        pl,
        max_steps=100,
        enable_checkpointing=True,
        callbacks=[saving, Killed()] if number == 1 else [saving],
        **({} if restarts is None else {"strategy": "ddp", "devices": int(os.environ["WORLD_SIZE"])}),
    )
    trainer.fit(Net(), DataLoader(torch.ones(160, 4), 4), ckpt_path=str(last) if last.exists() else None)
    if backends:
        run.stop()
        assert run.errors == {}, run.errors
