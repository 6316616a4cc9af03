"""A training that diverges: what the run says of a loss that becomes infinite, and then NaN.

    python examples/diverging.py

The learning rate is far too high for this regression. The loss grows until it is no longer a number, and
`EarlyStopping` ends the training after that epoch. The run has every value. MLflow stores an infinite one as NaN, so
a tag says at which steps it was infinite. The run's description has the last loss, and the highest one that was a
number.
"""

import math
import warnings

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping
from mlflow import MlflowClient
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import tracelet_otel as tracelet


class Regression(L.LightningModule):
    def __init__(self, learning_rate):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(8, 1)

    def training_step(self, batch):
        inputs, targets = batch
        loss = functional.mse_loss(self.layer(inputs), targets)
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.hparams.learning_rate)


def main():
    L.seed_everything(7, verbose=False)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    inputs = torch.randn(1024, 8)
    data = TensorDataset(inputs, inputs.sum(1, keepdim=True))

    with tracelet.start_logging("diverging", project="examples") as run:
        trainer = L.Trainer(
            max_epochs=50,
            accelerator="cpu",
            logger=False,
            log_every_n_steps=1,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[EarlyStopping("train/loss", check_finite=True, check_on_train_epoch_end=True)],
        )
        trainer.fit(Regression(learning_rate=5.0), DataLoader(data, 16))

    client = MlflowClient(run.urls["mlflow"].split("/#/")[0])
    tags = client.get_run(run.ids["mlflow"]).data.tags
    losses = client.get_metric_history(run.ids["mlflow"], "train/loss")
    numbers = [one for one in losses if math.isfinite(one.value)]
    print(f"The last loss that is a number is {numbers[-1].value:.3g}, at step {numbers[-1].step} of {len(losses)}.")
    print(f"Infinite: {tags['tracelet.nonfinite.train/loss']}")
    print(next(line for line in tags["mlflow.note.content"].splitlines() if "train/loss" in line))


if __name__ == "__main__":
    main()
