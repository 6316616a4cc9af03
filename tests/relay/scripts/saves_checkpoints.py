"""A training that saves a checkpoint in each epoch, and keeps the two best and the last: `saves_checkpoints.py URI`."""

import sys

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from tests.support.trainings import loader, namespace, regression

import tracelet_otel as tracelet

pl = namespace("lightning.pytorch")
SCORES = [float((7 * epoch) % 20) for epoch in range(20)]


class Scored(Callback):
    """Each epoch has a score that is known in advance."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: torch.nn.Module) -> None:
        if not trainer.sanity_checking:
            pl_module.log("score", torch.tensor(SCORES[trainer.current_epoch]))


config = {"export_interval": 0.1, "stop_timeout": 0.5, "checkpoints": "top_k"}
run = tracelet.start_logging("saves", project="files", backend_url=sys.argv[1], config=config)
keeper = ModelCheckpoint("ck", monitor="score", save_top_k=2, save_last=True)
quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
trainer = Trainer(max_epochs=len(SCORES), callbacks=[Scored(), keeper], num_sanity_val_steps=0, **quiet)
trainer.fit(regression(pl), loader(), loader())
print(run.id, keeper.best_model_path, sep="\n", flush=True)
tracelet.stop_logging()
