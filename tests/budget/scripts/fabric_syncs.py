"""Counts how often a training with Fabric waits for a device, without us and with us: a JSON list of two numbers.

Fabric itself reads each tensor that it is to log.
"""

import json

import lightning.fabric as fabrics
from tests.support.fabrics import quiet_fabric, train
from torch.profiler import ProfilerActivity, profile

import tracelet_otel as tracelet


def log(fabric, loss, step):
    fabric.log_dict({"loss": loss, "detached": loss.detach()}, step=step)
    fabric.log("without a step", loss)


def syncs():
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        train(quiet_fabric(fabrics), log, 20)
    events = [event for event in profiled.events() if event.name == "aten::_local_scalar_dense"]
    threads = {event.thread for event in profiled.events() if event.name == "aten::addmm"}
    assert len(threads) == 1, threads
    return sum(event.thread in threads for event in events)


without = syncs()
with tracelet.start_logging(config={"export_interval": 0.05}) as run:
    recorded = syncs()
    assert run.errors == {}
print(json.dumps([without, recorded]))
