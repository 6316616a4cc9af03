"""Trains an epoch, says so, and waits in the next one to be killed."""

import threading
from pathlib import Path

import lightning.pytorch as pl
from tests.support.quiet import quiet_trainer
from tests.support.trainings import loader, regression

import tracelet_otel as tracelet


class Waits(pl.Callback):
    def on_train_batch_start(self, trainer, *_):
        if trainer.current_epoch == 1:
            Path("an epoch is done").touch()
            threading.Event().wait()


tracelet.start_logging("a run", config={"export_interval": 0.1})
trainer = quiet_trainer(pl, max_epochs=2, callbacks=[Waits()], enable_checkpointing=True)
trainer.fit(regression(pl), loader(16), loader(8))
