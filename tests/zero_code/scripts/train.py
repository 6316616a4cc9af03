"""A training that has never heard of us; it writes the rows that its own logger got to `rows.json`."""

import json
import logging
import os
import warnings
from pathlib import Path

import lightning.pytorch as pl
import torch

# What is left on standard error is not Lightning's. Its packages log by the name of whichever was imported last.
warnings.simplefilter("ignore")
for name in ("lightning.pytorch", "pytorch_lightning"):
    logging.getLogger(name).setLevel(logging.ERROR)

DEVICES = int(os.environ.get("DEVICES", "1"))
STRATEGY = os.environ.get("STRATEGY", "ddp" if DEVICES > 1 else "auto")
WORKERS = json.loads(os.environ.get("WORKERS", "{}"))


class Recording(pl.loggers.Logger):
    name, version = "recording", 0

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append([{name: float(value) for name, value in metrics.items()}, step])

    def log_hyperparams(self, *args, **kwargs):
        pass


class Net(pl.LightningModule):
    def __init__(self, width=4):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(width, 1)

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch[0]).square().mean()
        self.log("train/Loss of a batch", loss)
        self.log("rank", float(self.global_rank))
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.layer(batch[0]).square().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)


def loader(**options):
    data = torch.randn(48, 4, generator=torch.Generator().manual_seed(0))
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(data), batch_size=4, **options)


def main():
    pl.seed_everything(7, verbose=False)
    logger = Recording()
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=DEVICES,
        strategy=STRATEGY,
        logger=logger,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Net(), loader(**WORKERS), loader())
    if trainer.is_global_zero:
        Path("rows.json").write_text(json.dumps(logger.rows))


if __name__ == "__main__":
    main()
