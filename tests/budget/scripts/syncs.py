"""Counts how often the training thread waits for a device, without us and with us: a JSON list of two numbers."""

import json

import lightning.pytorch as pl
from tests.support.quiet import quiet_trainer
from tests.support.trainings import loader, regression
from torch.profiler import ProfilerActivity, profile

import tracelet_otel as tracelet


def syncs():
    module = regression(pl)
    trainer = quiet_trainer(pl, max_epochs=2)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        trainer.fit(module, loader(32), loader(16, seed=1))
    events = [event for event in profiled.events() if event.name == "aten::_local_scalar_dense"]
    threads = {event.thread for event in profiled.events() if event.name == "aten::mse_loss"}
    assert len(threads) == 1, threads
    return sum(event.thread in threads for event in events)


without = syncs()
with tracelet.start_logging(config={"export_interval": 0.05, "track_gradients": 1}) as run:
    recorded = syncs()
    assert run.errors == {}
print(json.dumps([without, recorded]))
