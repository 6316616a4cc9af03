"""A training that is killed goes on with its run when it is started again.

    python examples/resumed.py --killed-at 30     # dies without a word at step 30, with a checkpoint of step 20
    python examples/resumed.py                    # the same run: from step 20 to the end

A key names the job. Under SLURM, torchrun and Kubernetes the job has a name already, and `resume="auto"` is enough.
From what the training resumes is between you and Lightning; here it is the last checkpoint. The run then has two
attempts, and its tags say how many steps were done twice, and how long nothing trained.
"""

import argparse
import os
import signal
import warnings

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
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
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)


class Killed(L.Callback):
    """Ends the process as a scheduler or the kernel would do it, at a step."""

    def __init__(self, run, step):
        self.run, self.step = run, step

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            self.run.flush()
            os.kill(os.getpid(), signal.SIGKILL)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--killed-at", type=int, metavar="STEP")
    options = arguments.parse_args()

    L.seed_everything(7, verbose=False)
    warnings.filterwarnings("ignore", ".*(does not have many workers|exists and is not empty).*")
    inputs = torch.randn(320, 8)
    data = TensorDataset(inputs, inputs.sum(1, keepdim=True))

    settings = {"resume": "auto", "run_key": "examples/resumed"}
    with tracelet.start_logging("resumed", project="examples", config=settings) as run:
        trainer = L.Trainer(
            max_epochs=3,
            accelerator="cpu",
            logger=False,
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[ModelCheckpoint("checkpoints", save_last=True), Killed(run, options.killed_at)],
        )
        trainer.fit(Regression(), DataLoader(data, 16), ckpt_path="last")

    stored = MlflowClient(run.urls["mlflow"].split("/#/")[0]).get_run(run.ids["mlflow"])
    for name in ("tracelet.run.attempt", "tracelet.run.lost_steps", "tracelet.run.downtime"):
        print(f"{name}: {stored.data.tags.get(name, 'none')}")


if __name__ == "__main__":
    main()
