"""A training with arguments, in all trackers: `described.py ARGUMENT...`. It says the run's id, name and errors."""

import json

import lightning.pytorch as pl
import torch
from tests.support.quiet import quiet_trainer
from tests.support.trainings import loader, regression

import tracelet_otel as tracelet

with tracelet.start_logging(project="described", backend=["mlflow", "wandb", "clearml"]) as run:
    for _ in range(2):
        module = regression(pl)
        # Lightning's own summary would run the module with it.
        module.example_input_array = torch.zeros(1, 4)
        quiet_trainer(pl, max_epochs=1, enable_model_summary=False).fit(module, loader())
print(json.dumps({"id": run.id, "name": run.name, "errors": run.errors}))
