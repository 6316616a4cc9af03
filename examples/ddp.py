"""Two processes train together on the CPU, and there is one run with the values of both.

    python examples/ddp.py

Lightning starts this script a second time, as rank 1. Both processes call `start_logging`: rank 0 creates the run,
and rank 1 sends its values to it. The script would be the same for one process. `self.log` says how the values of
ranks become one: here the mean of their losses, the highest of them, and the sum of their samples. Lightning's own
loggers would only have those of rank 0.
"""

import warnings

import lightning as L
import torch
from mlflow import MlflowClient
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import tracelet_otel as tracelet


class Regression(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 1)

    def training_step(self, batch):
        inputs, targets = batch
        loss = functional.mse_loss(self.layer(inputs), targets)
        self.log("train/loss", loss)
        self.log("train/worst_loss", loss, reduce_fx="max")
        self.log("train/samples", float(len(inputs)), reduce_fx="sum")
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)


def main():
    L.seed_everything(7, verbose=False)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    inputs = torch.randn(320, 8)
    data = TensorDataset(inputs, inputs.sum(1, keepdim=True))

    run = tracelet.start_logging("two ranks", project="examples")
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        logger=False,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Regression(), DataLoader(data, 16))
    tracelet.stop_logging()

    if trainer.is_global_zero:
        report(run)


def report(run):
    """The first steps of the run, as MLflow has them."""
    client = MlflowClient(run.urls["mlflow"].split("/#/")[0])
    names = ("train/loss", "train/worst_loss", "train/samples")
    columns = [client.get_metric_history(run.ids["mlflow"], name) for name in names]
    print("step", *names)
    for row in list(zip(*columns, strict=True))[:5]:
        print(row[0].step, *(f"{one.value:.4g}" for one in row))


if __name__ == "__main__":
    main()
