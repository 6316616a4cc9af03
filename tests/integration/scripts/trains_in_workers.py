"""Two trainings, each in a process of a pool that METHOD starts; with OURS, in a run."""

import multiprocessing
import os

import lightning.pytorch as pl
import torch

import tracelet_otel


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch).mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)


def work(number):
    for _ in range(2):
        quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = pl.Trainer(accelerator="cpu", logger=False, max_epochs=1, **quiet)
        trainer.fit(Net(), torch.utils.data.DataLoader(torch.randn(8, 4)))
    return number


if __name__ == "__main__":
    if "OURS" in os.environ:
        tracelet_otel.start_logging()
    with multiprocessing.get_context(os.environ["METHOD"]).Pool(2) as pool:
        print(pool.map(work, range(2), chunksize=1))
