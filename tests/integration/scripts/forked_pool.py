"""A run that starts, and at once a forked pool whose workers import torch and train."""

import importlib
import multiprocessing

import tracelet_otel as tracelet


def work(number):
    pl = importlib.import_module("lightning.pytorch")
    trainings = importlib.import_module("tests.support.trainings")
    trainings.Training({"max_epochs": 1})(pl, False)
    return number


if __name__ == "__main__":
    tracelet.start_logging(config={"track_system": True})
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(work, range(2), chunksize=1))
