"""What the training thread does for us, by its structure: no wait for a device, no system call, no lock of ours."""

from __future__ import annotations

import json
import sys
import threading

import pytest

from tests.support.trainings import loader, namespace, regression

SYNCS = """
import warnings; warnings.simplefilter("ignore")
import json, sys, threading
import lightning.pytorch as pl
import tracelet_otel as tracelet
from torch.profiler import ProfilerActivity, profile
from tests.support.trainings import loader, regression

def syncs(names):
    module, found = regression(pl), {}
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, log_every_n_steps=1, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        trainer.fit(module, loader(32), loader(16, seed=1))
    events = [event for event in profiled.events() if event.name == "aten::_local_scalar_dense"]
    threads = {event.thread for event in profiled.events() if event.name == "aten::mse_loss"}
    assert len(threads) == 1, threads
    return sum(event.thread in threads for event in events)

without = syncs([])
with tracelet.start_logging(config={"export_interval": 0.05}) as run:
    recorded = syncs([])
    assert run.errors == {}
print(json.dumps([without, recorded]))
"""

# Linux, x86-64 and AArch64: a filter of this thread kills the process at any call but those of memory, of the
# interpreter's own lock, and of the end. Sources: seccomp(2), and the kernel's tables of system calls.
CALLS = """
import warnings; warnings.simplefilter("ignore")
import ctypes, os, platform, struct, sys
import lightning.pytorch as pl
import torch
import tracelet_otel as tracelet

ALLOWED = {
    "x86_64": [9, 10, 11, 12, 25, 28, 202, 231],
    "aarch64": [214, 215, 216, 222, 226, 233, 98, 94],
}[platform.machine()]

def forbid_calls():
    libc = ctypes.CDLL(None, use_errno=True)
    load, jump_equal, answer = 0x20, 0x15, 0x06
    steps = [(load, 0, 0, 0)]
    for position, number in enumerate(ALLOWED):
        steps.append((jump_equal, len(ALLOWED) - position, 0, number))
    steps += [(answer, 0, 0, 0x80000000), (answer, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code)))
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0, ctypes.get_errno()

class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
    def training_step(self, batch):
        connector, values = self.trainer._logger_connector, {f"m{n}": torch.tensor(float(n)) for n in range(5)}
        connector.log_metrics(values, step=0)
        forbid_calls()
        for step in range(int(sys.argv[1])):
            connector.log_metrics(values, step=step)
        if sys.argv[2] == "and calls":
            os.getppid()
        os._exit(7)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

tracelet.start_logging()
trainer = pl.Trainer(
    max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(Module(), torch.utils.data.DataLoader(torch.zeros(1, 1)))
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch, request):
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))


def test_it_waits_for_no_device(python, database):
    child = python(SYNCS)
    assert child.returncode == 0, child.stderr
    without, recorded = json.loads(child.stdout.splitlines()[-1])
    assert recorded == without


@pytest.mark.skipif(sys.platform != "linux", reason="system calls can be forbidden on Linux only")
@pytest.mark.parametrize(("after", "code"), [("", 7), ("and calls", -31)])
def test_it_makes_no_system_call(python, database, after, code):
    """The second case shows that a call would be seen: it ends the process by SIGSYS."""
    child = python(CALLS, "1000", after)
    assert child.returncode == code, child.stderr


def locks_of(run) -> list:
    """Every lock that can be reached from a run through objects of ours."""
    kinds = (type(threading.Lock()), type(threading.RLock()))
    found, seen, left = [], set(), [run]
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, kinds):
            found.append(one)
            continue
        if isinstance(one, threading.Condition):
            left.append(one._lock)
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, (list, tuple, set)):
            left += one
        elif type(one).__module__.startswith(("tracelet_otel", "opentelemetry")):
            left += getattr(one, "__dict__", {}).values()
            left += [getattr(one, name) for name in getattr(type(one), "__slots__", ()) if hasattr(one, name)]
    return found


def test_it_takes_no_lock_of_ours(database, monkeypatch):
    """While somebody else holds all of them, rows are logged as ever."""
    import tracelet_otel as tracelet

    pl = namespace("lightning.pytorch")
    held, release, logged, in_time = threading.Event(), threading.Event(), [], []
    run = tracelet.start_logging(config={"export_interval": 3600})

    holders = []

    def hold() -> None:
        taken = [lock for lock in locks_of(run) if lock.acquire(timeout=1)]
        logged.append(len(taken))
        held.set()
        # It lets go in the end, so that a training that waits for it is seen to fail, and not to hang.
        in_time.append(release.wait(20))
        for lock in taken:
            lock.release()

    def on_train_batch_end(self, *_):
        if not held.is_set():
            holders.append(threading.Thread(target=hold, daemon=True))
            holders[0].start()
            assert held.wait(30)

    module = regression(pl, on_train_batch_end=on_train_batch_end)
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, log_every_n_steps=1, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, loader(32), loader(16, seed=1))
    queued = run._signals.recorder.queued
    release.set()
    holders[0].join()
    assert in_time == [True]
    assert logged[0] > 5
    assert queued > 16
    run.stop()
    assert run.accounts["mlflow"].pending == 0
