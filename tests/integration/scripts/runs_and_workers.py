"""Runs of a script, and a worker that is not as old as they are: EVENT says how. Each training logs its number."""

import multiprocessing
import os
import threading

import lightning.pytorch as pl
from tests.support.quiet import quiet_trainer
from tests.support.trainings import loader, regression

import tracelet_otel as tracelet


class Numbered(pl.Callback):
    def __init__(self, number):
        self.number = number

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        pl_module.log("number", float(self.number))


def train(number):
    quiet_trainer(pl, max_epochs=1, callbacks=[Numbered(number)]).fit(regression(pl), loader())


def train_thrice(number):
    """With a run of its own in between."""
    train(number)
    with start("own"):
        train(number + 1)
    train(number + 2)


def start(name, **more):
    config = {"export_interval": 0.1, "track_system": False, "workers": os.environ.get("WORKERS", "child")}
    return tracelet.start_logging(name, config=config, **more)


def in_worker(work, number, method="fork"):
    worker = multiprocessing.get_context(method).Process(target=work, args=(number,))
    worker.start()
    worker.join()


def the_pool_outlives_a_run():
    first = start("first")
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.map(train, [1])
        first.stop()
        with start("second"):
            pool.map(train, [2])
            pool.close()
            pool.join()


def a_run_of_a_thread_ends_before():
    begun, ends = threading.Event(), threading.Event()

    def isolated():
        with start("isolated", isolated=True):
            begun.set()
            ends.wait()

    thread = threading.Thread(target=isolated)
    thread.start()
    begun.wait()
    with start("first"):
        ends.set()
        thread.join()
        in_worker(train, 1)


def the_worker_has_a_run_of_its_own():
    with start("first"):
        in_worker(train_thrice, 1)


if os.environ["EVENT"] == "each process starts a run":
    # Where multiprocessing runs this file again, too.
    start("first")

if __name__ == "__main__":
    if os.environ["EVENT"] == "each process starts a run":
        in_worker(train, 1, "spawn")
        tracelet.stop_logging()
    else:
        globals()[os.environ["EVENT"].replace(" ", "_")]()
