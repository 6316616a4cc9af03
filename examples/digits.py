"""A small CNN on scikit-learn's digits; every metric it logs lands in MLflow, Weights & Biases or ClearML.

The training code below knows nothing of tracelet: only `main` starts and stops the recording.
"""

import argparse
import warnings

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset, random_split

import tracelet_otel as tracelet


class DigitsData(L.LightningDataModule):
    def __init__(self, batch_size=32):
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage):
        images, labels = load_digits(return_X_y=True)
        images = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
        data = TensorDataset(images, torch.tensor(labels))
        split = torch.Generator().manual_seed(0)
        self.train, self.val, self.test = random_split(data, [0.6, 0.2, 0.2], split)

    def train_dataloader(self):
        return DataLoader(self.train, self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val, self.batch_size)

    def test_dataloader(self):
        return DataLoader(self.test, self.batch_size)


class DigitsModel(L.LightningModule):
    def __init__(self, learning_rate=2e-3):
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(32 * 4 * 4, 10),
        )

    def step(self, batch, name, **options):
        images, labels = batch
        logits = self.layers(images)
        loss = functional.cross_entropy(logits, labels)
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        self.log_dict({f"{name}/loss": loss, f"{name}/accuracy": accuracy}, batch_size=len(labels), **options)
        return loss

    def training_step(self, batch, batch_idx):
        return self.step(batch, "train", on_step=True, on_epoch=True)

    def validation_step(self, batch, batch_idx):
        self.step(batch, "val", prog_bar=True)

    def test_step(self, batch, batch_idx):
        self.step(batch, "test")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--epochs", type=int, default=15)
    arguments.add_argument("--experiment", default="lightning_experiment")
    arguments.add_argument("--backend", default="mlflow", help="mlflow, wandb, clearml, or several with commas")
    options = arguments.parse_args()

    L.seed_everything(7, verbose=False)
    # Small tensors in one process: workers would cost more than they bring.
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*LeafSpec.*")

    run = tracelet.start_logging(exp_name=options.experiment, project="digits", backend=options.backend)
    trainer = L.Trainer(
        max_epochs=options.epochs,
        accelerator="cpu",
        logger=False,
        log_every_n_steps=5,
        enable_model_summary=False,
        enable_progress_bar=False,
        callbacks=[
            EarlyStopping(monitor="val/loss", patience=3),
            ModelCheckpoint(monitor="val/loss", dirpath="checkpoints"),
        ],
    )
    model, data = DigitsModel(), DigitsData()
    trainer.fit(model, data)
    trainer.test(model, data, ckpt_path="best", verbose=False)
    tracelet.stop_logging()

    report(run)


def report(run):
    """What each backend took of the run, where it is, and how to look at it."""
    console = Console()
    if "mlflow" in run.urls:
        console.print(values_in_mlflow(run))
    for backend, account in run.accounts.items():
        url = run.urls[backend]
        console.print(f"{backend}: {account.delivered} readings, {account.refused} refused, {account.pending} missing")
        console.print(f"  where: {url}", soft_wrap=True, highlight=False)
        if not url.startswith("http"):
            console.print(f"  look:  {LOOK[backend].format(url)}", soft_wrap=True, highlight=False)


LOOK = {
    "mlflow": "mlflow ui --backend-store-uri {}",
    "wandb": "wandb sync {}",
    "clearml": "python -c \"from clearml import Task; Task.import_offline_session('{}.zip')\"",
}
"""Of a run that is on this machine."""


def values_in_mlflow(run):
    """A table of what MLflow has of the run, read back from it."""
    from mlflow import MlflowClient

    client = MlflowClient(run.urls["mlflow"].split("/#/")[0])
    experiment = client.get_experiment_by_name("digits")
    stored = client.search_runs([experiment.experiment_id], f"tags.`tracelet.run.id` = '{run.id}'")[0]
    title = f"{run.name}: what MLflow has of run {stored.info.run_id} ({stored.info.status})"
    table = Table(title=title, title_justify="left")
    for column in ("metric", "points", "first", "best", "last"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for name in sorted(stored.data.metrics):
        history = sorted(client.get_metric_history(stored.info.run_id, name), key=lambda m: (m.step, m.timestamp))
        values = [metric.value for metric in history]
        best = min(values) if "loss" in name else max(values)
        table.add_row(name, str(len(values)), *(f"{value:.4f}" for value in (values[0], best, values[-1])))
    return table


if __name__ == "__main__":
    main()
