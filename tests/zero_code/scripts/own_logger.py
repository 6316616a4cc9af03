"""A training under zero code that has our logger as its only one; it prints where its checkpoint is."""

import sys
from pathlib import Path

import lightning.pytorch as pl
from train import Net, loader

import tracelet_otel as tracelet


class Calls(Net):
    def on_train_start(self):
        self.logger.log_hyperparams({"depth": 2}, {"hp/loss": 0.25})
        self.logger.log_metrics({"within": 2.0}, 4)
        self.logger.experiment.log_metric("by hand", 3.0, 5)
        self.logger.experiment.set_tags({"team": "vision"})


logger = tracelet.TraceletLogger()
logger.log_metrics({"before": 1.0}, 0)
trainer = pl.Trainer(
    max_epochs=1,
    accelerator="cpu",
    logger=logger,
    log_every_n_steps=1,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(Calls(), loader())
assert tracelet.get_active_run() is None
path = Path(trainer.checkpoint_callback.best_model_path)
sys.stdout.write(path.parent.relative_to(Path.cwd()).as_posix())
