"""A training whose data is loaded by forked workers, recorded by us (`forked_workers.py ours`) or by MLFlowLogger."""

import sys

import lightning.pytorch as pl
from tests.support.trainings import Training, loader

import tracelet_otel as tracelet

training = Training(
    run=lambda trainer, module: trainer.fit(
        module,
        loader(64, num_workers=2, multiprocessing_context="fork"),
        loader(16, seed=1, num_workers=2, multiprocessing_context="fork"),
    )
)
if sys.argv[1] == "ours":
    tracelet.start_logging(config={"export_interval": 0.01})
    training(pl, False)
else:
    training(pl, pl.loggers.MLFlowLogger("native", tracking_uri="sqlite:///native.db"))
