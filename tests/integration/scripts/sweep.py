"""A study of Optuna of four trials, two at a time, of which the third is pruned: MODE says how a trial has its run."""

import json
import logging
import os
import warnings

import optuna
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from tests.support.quiet import QUIET

import tracelet_otel as tracelet

PROJECT = "sweep"


class Net(LightningModule):
    def __init__(self, rate):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.hparams.rate)


class Trial(Callback):
    def __init__(self, trial):
        self.trial = trial

    def on_fit_start(self, trainer, module):
        run = tracelet.get_active_run()
        run.log_params(self.trial.params)
        run.set_tags({"trial": self.trial.number})

    def on_train_epoch_end(self, trainer, module):
        module.log("number", float(self.trial.number))
        tracelet.get_active_run().log_metric("by hand", self.trial.number, trainer.current_epoch)
        if self.trial.number == 2 and trainer.current_epoch == 1:
            raise optuna.TrialPruned("not worth its time")


def train(trial):
    rate = trial.suggest_float("rate", 0.01, 0.1)
    trial.suggest_categorical("colour", ["red", "blue"])
    trainer = Trainer(**QUIET, max_epochs=3, callbacks=Trial(trial))
    trainer.fit(Net(rate), torch.utils.data.DataLoader(torch.randn(8, 4), batch_size=2))
    return float(trainer.callback_metrics["loss"])


def train_isolated(trial):
    name = f"trial {trial.number}"
    with tracelet.start_logging(name, project=PROJECT, isolated=True, config={"export_interval": 0.1}):
        return train(trial)


def main():
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Of PyTorch, about a name that Lightning uses.
    warnings.simplefilter("ignore", FutureWarning)
    study = optuna.create_study()
    if os.environ["MODE"] == "isolated":
        study.optimize(train_isolated, n_trials=4, n_jobs=2)
    else:
        with tracelet.start_logging(
            "study", project=PROJECT, config={"runs": "trainer", "export_interval": 0.1}
        ) as run:
            study.optimize(train, n_trials=4, n_jobs=2)
            assert not run.errors, run.errors
        assert tracelet.get_active_run() is None
    params = [{name: str(value) for name, value in trial.params.items()} for trial in study.trials]
    print(json.dumps([{"state": one.state.name, "params": own} for one, own in zip(study.trials, params, strict=True)]))


if __name__ == "__main__":
    main()
