"""A training beside the capture of others: `beside_others.py CAPTURE WHO`; databases are theirs.db and ours.db."""

import sys

import lightning.pytorch as pl
from tests.support.trainings import Training, with_hyperparameters

import tracelet_otel as tracelet

capture, who = sys.argv[1:]
training = Training(module=with_hyperparameters)


def ours(**config):
    if who != "nobody":
        tracelet.start_logging("ours", "ours", backend_url="sqlite:///ours.db", config=config)


def mlflow_logger():
    ours()
    training(pl, pl.loggers.MLFlowLogger("theirs", tracking_uri="sqlite:///theirs.db"))


def mlflow_autolog():
    import mlflow

    mlflow.set_tracking_uri("sqlite:///theirs.db")
    mlflow.pytorch.autolog(log_models=False, checkpoint=False)
    ours()
    training(pl, False)
    tracelet.stop_logging()
    training(pl, False)


def autolog_that_is_turned_off():
    import mlflow

    mlflow.set_tracking_uri("sqlite:///theirs.db")
    mlflow.pytorch.autolog(log_models=False, checkpoint=False)
    tracelet.start_logging("first", backend_url="sqlite:///first.db")
    mlflow.pytorch.autolog(disable=True)
    tracelet.stop_logging()
    ours()
    training(pl, False)
    tracelet.stop_logging()


def wandb_logger():
    ours()
    training(pl, pl.loggers.WandbLogger(project="theirs", offline=True))


def one_run_for_both():
    logger = pl.loggers.MLFlowLogger("shared", tracking_uri="sqlite:///ours.db")
    ours(run_id=logger.run_id)
    training(pl, logger)
    tracelet.stop_logging()


globals()[capture]()
