"""COUNT trainings (four) in processes that KIND starts, each with its own seed. `rows.<n>.json` has what a logger got.

With OURS=0 the script does not know us; with FIRST it has trained before.
"""

import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import lightning.pytorch as pl
import torch

import tracelet_otel as tracelet


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
    def __init__(self, number):
        super().__init__()
        self.number = number
        self.layer = torch.nn.Linear(4, 1)

    def on_train_start(self):
        run = tracelet.get_active_run()
        if run is not None:
            run.set_tags({"trained": str(self.number)})

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch).square().mean()
        self.log("number", float(self.number))
        self.log("loss", loss)
        return loss

    def test_step(self, batch, batch_idx):
        self.log("test loss", self.layer(batch).square().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)


def train(number):
    pl.seed_everything(number, verbose=False)
    logger, quiet = Recording(), {"enable_progress_bar": False, "enable_model_summary": False}
    options = {"accelerator": "cpu", "enable_checkpointing": False, "log_every_n_steps": 1, "max_epochs": 3, **quiet}
    # One that is made in a worker begins no run.
    loggers = [logger, *([tracelet.TraceletLogger()] if os.environ["KIND"] == "executor" else [])]
    trainer, data = pl.Trainer(logger=loggers, **options), torch.utils.data.DataLoader(torch.randn(8, 4), batch_size=2)
    trainer.fit(Net(number), data)
    trainer.test(trainer.lightning_module, data, verbose=False)
    Path(f"rows.{number}.json").write_text(json.dumps(logger.rows))
    return number


def train_in_child(number):
    """In a process that a process of a pool starts."""
    child = multiprocessing.get_context("fork").Process(target=train, args=(number,))
    child.start()
    child.join()
    return number


def run_all(kind, numbers):
    if kind == "subprocess":
        for number in numbers:
            subprocess.run([sys.executable, __file__, str(number)], check=True)
    elif kind == "loky":
        from joblib import Parallel, delayed

        Parallel(2)(delayed(train)(number) for number in numbers)
    elif kind in ("executor", "nested"):
        context = multiprocessing.get_context("spawn" if kind == "executor" else "fork")
        with ProcessPoolExecutor(2, mp_context=context) as executor:
            list(executor.map(train if kind == "executor" else train_in_child, numbers))
    elif kind == "here":
        for number in numbers:
            train(number)
    else:
        with multiprocessing.get_context(kind).Pool(2) as pool:
            pool.map(train, numbers, chunksize=1)


def main():
    if len(sys.argv) > 1:
        train(int(sys.argv[1]))
        return
    numbers = range(int(os.environ.get("COUNT", "4")))
    if os.environ.get("OURS", "1") == "1":
        config = json.loads(os.environ.get("CONFIG", "{}"))
        with tracelet.start_logging("pool", project="workers", config={"export_interval": 0.1, **config}) as run:
            run_all(os.environ["KIND"], numbers)
            print(run.errors)
    else:
        if os.environ.get("FIRST"):
            train(9)
        run_all(os.environ["KIND"], numbers)


if __name__ == "__main__":
    main()
