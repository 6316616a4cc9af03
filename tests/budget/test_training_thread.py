"""What the training thread does for us, by its structure: no wait for a device, no system call, no lock of ours."""

from __future__ import annotations

import json
import sys
import threading

import pytest

from tests.support.fabrics import quiet_fabric
from tests.support.trainings import loader, namespace, regression

pytestmark = pytest.mark.usefixtures("with_time")


@pytest.mark.parametrize("script", ["syncs.py", "fabric_syncs.py"])
def test_it_waits_for_no_device(run, database, script):
    child = run(script)
    assert child.returncode == 0, child.stderr
    without, recorded = json.loads(child.stdout.splitlines()[-1])
    assert recorded == without > 0


@pytest.mark.skipif(sys.platform != "linux", reason="system calls can be forbidden on Linux only")
@pytest.mark.parametrize("script", ["calls.py", "fabric_calls.py"])
@pytest.mark.parametrize(("after", "code"), [([], 7), (["and calls"], -31)])
def test_it_makes_no_system_call(run, database, script, after, code):
    """The second case shows that a call would be seen: it ends the process by SIGSYS."""
    child = run(script, 1000, *after)
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


def test_a_row_of_fabric_takes_no_lock_of_ours(database):
    """While somebody else holds all of them, rows are logged as ever."""
    import tracelet_otel as tracelet

    fabric = quiet_fabric(namespace("lightning.fabric"))
    held, release, logged, in_time = threading.Event(), threading.Event(), [], []
    run = tracelet.start_logging(config={"export_interval": 3600})
    fabric.log("loss", 0.5, 0)

    def hold() -> None:
        taken = [lock for lock in locks_of(run) if lock.acquire(timeout=1)]
        logged.append(len(taken))
        held.set()
        in_time.append(release.wait(20))
        for lock in taken:
            lock.release()

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    assert held.wait(30)
    for step in range(20):
        fabric.log_dict({"loss": 1.5}, step=step)
    queued = run._signals.recorder.queued
    release.set()
    holder.join()
    assert in_time == [True]
    assert logged[0] > 5
    assert queued >= 20
    run.stop()
