"""Every example of the page that described the original tracelet, run as it stands there.

The page is `shared/mission/lightning-integration.md`. One CPU stands in for GPUs, and MLflow for
the other backends.
"""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

import tracelet_otel as tracelet
from tests.support.mlflow_store import stored_run
from tests.support.trainings import loader

pytestmark = pytest.mark.usefixtures("with_time")

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}


class MyModel(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def compute_loss(self, batch):
        return torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])

    def compute_accuracy(self, batch):
        return ((self.layer(batch[0]) - batch[1]).abs() < 1).float().mean()

    def training_step(self, batch, batch_idx):
        loss = self.compute_loss(batch)
        self.log("train/loss", loss)
        self.log("train/accuracy", self.compute_accuracy(batch))
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.compute_loss(batch))
        self.log("val/accuracy", self.compute_accuracy(batch))

    def test_step(self, batch, batch_idx):
        self.log("test/loss", self.compute_loss(batch))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


@pytest.fixture
def train_dataloader():
    return loader(32)


@pytest.fixture
def val_dataloader():
    return loader(16, seed=1)


def steps(stored):
    found: dict[str, list[int]] = {}
    for name, step, *_ in sorted(stored.points):
        found.setdefault(name, []).append(step)
    return found


def test_basic_usage(database, train_dataloader, val_dataloader):
    tracelet.start_logging(exp_name="lightning_experiment", project="my_project", backend="mlflow")
    model = MyModel()
    trainer = Trainer(max_epochs=2, **QUIET)
    trainer.fit(model, train_dataloader, val_dataloader)
    trainer.test(model, val_dataloader, verbose=False)
    tracelet.stop_logging()

    stored = stored_run(database)
    assert (stored.name, stored.experiment, stored.status) == ("lightning_experiment", "my_project", "FINISHED")
    found = steps(stored)
    assert found["train/loss"] == found["train/accuracy"] == list(range(16))
    assert found["val/loss"] == found["val/accuracy"] == [7, 15]
    assert found["test/loss"] == [16]
    assert stored.params["lightning/trainer/max_epochs"] == "2"


def test_advanced_configuration(database, train_dataloader):
    tracelet.start_logging(
        exp_name="advanced_lightning",
        backend=["mlflow"],
        config={
            "track_lightning": True,
            "track_system": True,
            "track_git": True,
            "track_environment": True,
            "metrics_interval": 10.0,
        },
    )
    Trainer(max_epochs=1, **QUIET).fit(MyModel(), train_dataloader)
    tracelet.stop_logging()
    assert steps(stored_run(database))["train/loss"] == list(range(8))


def test_logging_frequency(database, train_dataloader):
    class Model(MyModel):
        def training_step(self, batch, batch_idx):
            loss = self.compute_loss(batch)
            self.log("train/loss", loss, on_step=True, on_epoch=False)
            self.log("train/epoch_loss", loss, on_step=False, on_epoch=True)
            self.log("train/loss_detailed", loss, on_step=True, on_epoch=True)
            return loss

    tracelet.start_logging()
    Trainer(max_epochs=2, **QUIET).fit(Model(), train_dataloader)
    tracelet.stop_logging()
    found = steps(stored_run(database))
    assert found["train/loss"] == found["train/loss_detailed_step"] == list(range(16))
    assert found["train/epoch_loss"] == found["train/loss_detailed_epoch"] == [7, 15]


def test_custom_metrics(database, train_dataloader):
    class Model(MyModel):
        learning_rate, batch_size = 0.01, 4

        def on_train_start(self):
            self.logger.log_hyperparams(
                {
                    "learning_rate": self.learning_rate,
                    "batch_size": self.batch_size,
                    "model_name": self.__class__.__name__,
                }
            )

        def training_step(self, batch, batch_idx):
            self.log("custom/my_metric", self.compute_accuracy(batch))
            return self.compute_loss(batch)

    tracelet.start_logging()
    Trainer(max_epochs=1, **QUIET).fit(Model(), train_dataloader)
    tracelet.stop_logging()
    stored = stored_run(database)
    assert steps(stored)["custom/my_metric"] == list(range(8))
    assert {name: stored.params[name] for name in ("learning_rate", "batch_size", "model_name")} == {
        "learning_rate": "0.01",
        "batch_size": "4",
        "model_name": "Model",
    }


def test_several_devices(database, train_dataloader):
    tracelet.start_logging()
    trainer = Trainer(devices=1, strategy="auto", max_epochs=1, **QUIET)
    trainer.fit(MyModel(), train_dataloader)
    tracelet.stop_logging()
    assert steps(stored_run(database))["train/loss"] == list(range(8))


def test_callbacks(database, train_dataloader, val_dataloader):
    tracelet.start_logging("lightning_with_callbacks", backend="mlflow")
    checkpoint = ModelCheckpoint(monitor="val/loss")
    trainer = Trainer(
        callbacks=[checkpoint, EarlyStopping(monitor="val/loss", patience=3, divergence_threshold=0.0)],
        max_epochs=100,
        **QUIET,
    )
    trainer.fit(MyModel(), train_dataloader, val_dataloader)
    tracelet.stop_logging()
    stored = stored_run(database)
    assert stored.name == "lightning_with_callbacks"
    assert steps(stored)["val/loss"] == [7], "EarlyStopping ends this training after its first epoch"
    (value,) = [value for name, _, value, _ in stored.points if name == "val/loss"]
    assert checkpoint.best_model_score.item() == value
    assert stored.status == "FINISHED"


def test_several_loggers_give_no_duplicates(database, train_dataloader):
    tracelet.start_logging()
    loggers = [pl.loggers.CSVLogger("csv"), pl.loggers.TensorBoardLogger("tensorboard")]
    Trainer(max_epochs=1, logger=loggers, **QUIET).fit(MyModel(), train_dataloader)
    tracelet.stop_logging()
    assert steps(stored_run(database))["train/loss"] == list(range(8))
