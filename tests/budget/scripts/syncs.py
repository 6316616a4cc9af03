"""Counts how often the training thread waits for a device, without us and with us: a JSON list of two numbers."""

import json

import lightning.pytorch as pl
from tests.support.trainings import loader, regression
from torch.profiler import ProfilerActivity, profile

import tracelet_otel as tracelet


def syncs():
    module = regression(pl)
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        trainer.fit(module, loader(32), loader(16, seed=1))
    events = [event for event in profiled.events() if event.name == "aten::_local_scalar_dense"]
    threads = {event.thread for event in profiled.events() if event.name == "aten::mse_loss"}
    assert len(threads) == 1, threads
    return sum(event.thread in threads for event in events)


without = syncs()
with tracelet.start_logging(config={"export_interval": 0.05}) as run:
    recorded = syncs()
    assert run.errors == {}
print(json.dumps([without, recorded]))
