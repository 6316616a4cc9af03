"""Where the time of real trainings goes, beside what the trainings measure themselves."""

from __future__ import annotations

import importlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.io import AsyncCheckpointIO, TorchCheckpointIO
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from torch.utils.data import DataLoader

import tracelet_otel as tracelet
from tests.support.quiet import quiet_trainer
from tests.support.sdk import points_of
from tests.support.timed import Data, SlowLogger, Stopwatch, callback_of, module_of
from tracelet_otel import semconv
from tracelet_otel.instrumentation.lightning import LightningInstrumentor

pytestmark = pytest.mark.usefixtures("with_time")
pl = importlib.import_module("lightning.pytorch")


@pytest.fixture
def spent_s() -> Iterator[Callable[[], dict[tuple[str, str], float]]]:
    """Seconds of the counter by phase, with its owner, and stage."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    LightningInstrumentor().instrument(meter_provider=provider)

    def read() -> dict[tuple[str, str], float]:
        found = {}
        for point in points_of(reader, semconv.PHASE_TIME):
            told = point.attributes
            phase = f"{told[semconv.PHASE]} {told.get(semconv.PHASE_OWNER, '')}".strip()
            found[phase, told[semconv.STAGE]] = point.value
        return found

    yield read
    LightningInstrumentor().uninstrument()
    provider.shutdown()


def whole(wall_s: float) -> Any:
    """The time of calls, but for what our own start and end take around them."""
    return pytest.approx(wall_s, rel=0.01, abs=0.05)


def compared(found: dict[tuple[str, str], float], watch: Stopwatch, wall_s: float, stage: str) -> None:
    """Each part has at least the time that it has itself measured, and all together have the time of the calls."""
    phases = {phase: seconds for (phase, of_stage), seconds in found.items() if of_stage == stage}
    assert sum(phases.values()) == whole(wall_s)
    for part, seconds in watch.spent_s.items():
        assert phases.pop(part) >= seconds - 0.001, (part, found, watch.spent_s)
    assert set(phases) <= {
        "lightning", "logging", "setup", "checkpoint", "callback Module", "callback ModelCheckpoint",
        "callback TraceletRankCallback", "optimizer", "backward", "forward", "transfer", "data_wait", "validation",
    }  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_grad_batches": 2},
        {"val_check_interval": 2},
        {"profiler": "simple"},
        {"profiler": "advanced"},
        {"manual": True},
        {"two loaders": True},
    ],
    ids=str,
)
def test_each_phase_of_a_training_has_its_time(tmp_path, spent_s, options):
    watch, options = Stopwatch(), dict(options)
    module = module_of(watch, manual=options.pop("manual", False))
    training: Any = DataLoader(Data(watch, "data_wait", 8), 2)
    if options.pop("two loaders", False):
        training = [DataLoader(Data(watch, "data_wait", 8), 2), DataLoader(Data(watch, "data_wait", 4), 2)]
        module.layer.forward = lambda batches, forward=module.layer.forward: forward(
            torch.cat(batches) if isinstance(batches, list) else batches
        )
    logger = SlowLogger(tmp_path)
    logger.watch = watch
    trainer = quiet_trainer(
        pl, default_root_dir=tmp_path, max_epochs=2, logger=logger, callbacks=[callback_of(watch)], log_every_n_steps=1,
        enable_checkpointing=True, **options,
    )  # fmt: skip
    profiler = type(trainer.profiler)
    began_s = time.perf_counter()
    trainer.fit(module, training, DataLoader(Data(watch, "validation", 4), 2))
    wall_s = time.perf_counter() - began_s
    compared(spent_s(), watch, wall_s, "fit")
    assert type(trainer.profiler) is profiler
    assert not vars(trainer.profiler).keys() & {"profile", "start", "stop"}
    assert "run" not in vars(trainer.fit_loop.epoch_loop.val_loop)
    if options.get("profiler") == "simple":
        assert trainer.profiler.recorded_durations["[Strategy]SingleDeviceStrategy.training_step"]


def test_workers_are_started_in_the_time_that_data_is_waited_for(tmp_path, spent_s):
    watch = Stopwatch()
    loader: Any = DataLoader(Data(watch, "data_wait", 8), 2, num_workers=2, multiprocessing_context="fork")
    starts_s = []

    class Loader(DataLoader[Any]):
        def __iter__(self) -> Any:
            began_s = time.perf_counter()
            iterator = super().__iter__()
            starts_s.append(time.perf_counter() - began_s)
            return iterator

    loader.__class__ = Loader
    trainer = quiet_trainer(pl, default_root_dir=tmp_path, max_epochs=3, callbacks=[callback_of(watch)])
    began_s = time.perf_counter()
    trainer.fit(module_of(watch), loader)
    wall_s = time.perf_counter() - began_s
    found = spent_s()
    compared(found, watch, wall_s, "fit")
    assert len(starts_s) == 3
    assert found["data_wait", "fit"] >= sum(starts_s)


def test_each_call_of_a_trainer_has_its_own_stage(tmp_path, spent_s):
    walls_s = Counter()
    watches = {stage: Stopwatch() for stage in ("fit", "validate", "predict")}
    for stage, watch in watches.items():
        for _ in range(2):
            trainer = quiet_trainer(pl, default_root_dir=tmp_path, max_epochs=1)
            loader: Any = DataLoader(Data(watch, "data_wait", 4), 2)
            began_s = time.perf_counter()
            getattr(trainer, stage)(module_of(watch), loader)
            walls_s[stage] += time.perf_counter() - began_s
    # Without a validation in it, and without what only a fit has.
    watches["validate"].spent_s["transfer"] = watches["validate"].spent_s.pop("validation")
    found = spent_s()
    for stage, watch in watches.items():
        compared(found, watch, walls_s[stage], stage)


class FailedError(Exception):
    """What a user's code raises."""


@pytest.mark.parametrize("error", [FailedError, KeyboardInterrupt])
@pytest.mark.parametrize("place", ["callback", "training_step", "profiler"])
def test_what_raises_ends_the_training_as_ever_and_the_sum_stays_right(tmp_path, spent_s, error, place):
    watch = Stopwatch()
    module, callback = module_of(watch), callback_of(watch)

    def raises(*_: Any, **__: Any) -> None:
        raise error

    class Profiler(pl.profilers.SimpleProfiler):
        def start(self, action_name: str) -> None:
            if place == "profiler" and action_name.endswith("backward"):
                raises()
            super().start(action_name)

    if place == "callback":
        callback.on_before_backward = raises
    elif place == "training_step":
        module.training_step = raises
    trainer = quiet_trainer(
        pl,
        default_root_dir=tmp_path,
        max_epochs=1,
        callbacks=[callback],
        profiler=Profiler(),
        enable_checkpointing=False,
    )
    began_s = time.perf_counter()
    # Lightning takes Ctrl-C for the end of the process. Its own profiler raises where an action ends that never began.
    expected = ValueError if place == "profiler" else SystemExit if error is KeyboardInterrupt else error
    with pytest.raises(expected):
        trainer.fit(module, DataLoader(Data(watch, "data_wait", 8), 2))
    wall_s = time.perf_counter() - began_s
    failed = spent_s()
    assert sum(failed.values()) == whole(wall_s)
    # The next training is measured as if nothing had been.
    again = Stopwatch()
    trainer = quiet_trainer(pl, default_root_dir=tmp_path, max_epochs=1)
    began_s = time.perf_counter()
    trainer.validate(module_of(again), DataLoader(Data(again, "data_wait", 8), 2))
    wall_s = time.perf_counter() - began_s
    again.spent_s["transfer"] = again.spent_s.pop("validation")
    compared(spent_s(), again, wall_s, "validate")


def test_a_profiler_that_is_replaced_while_a_training_runs(tmp_path, spent_s):
    watch = Stopwatch()

    class Replaces(pl.Callback):
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            trainer.profiler = pl.profilers.SimpleProfiler()

    trainer = quiet_trainer(pl, default_root_dir=tmp_path, max_epochs=1, callbacks=[Replaces()])
    began_s = time.perf_counter()
    trainer.fit(module_of(watch), DataLoader(Data(watch, "data_wait", 8), 2))
    wall_s = time.perf_counter() - began_s
    assert sum(spent_s().values()) == whole(wall_s)


class Own(pl.profilers.Profiler):  # type: ignore[misc]
    """A user's, which does not start and stop actions as Lightning's do."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    @contextmanager
    def profile(self, action_name: str) -> Iterator[str]:
        self.seen[action_name] += 1
        yield action_name

    def start(self, action_name: str) -> None:
        pass

    def stop(self, action_name: str) -> None:
        pass


def test_a_profiler_with_a_way_of_its_own(tmp_path, spent_s):
    watch, own = Stopwatch(), Own()
    trainer = quiet_trainer(pl, default_root_dir=tmp_path, max_epochs=1, profiler=own, callbacks=[callback_of(watch)])
    began_s = time.perf_counter()
    trainer.fit(module_of(watch), DataLoader(Data(watch, "data_wait", 8), 2))
    compared(spent_s(), watch, time.perf_counter() - began_s, "fit")
    assert own.seen["run_training_batch"] == 4
    assert "profile" not in vars(own)


def test_a_checkpoint_that_is_written_on_another_thread(tmp_path, spent_s):
    """Its time is as long as the training waits."""
    watch = Stopwatch()
    written = threading.Event()

    class Slow(AsyncCheckpointIO):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(SlowIO())

    class SlowIO(TorchCheckpointIO):  # type: ignore[misc]
        def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
            # Waits for a step that can only come if the training does not wait.
            assert written.wait(30)
            super().save_checkpoint(*args, **kwargs)

    class Trains(pl.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 3:
                written.set()

    checkpoints = pl.callbacks.ModelCheckpoint(tmp_path / "checkpoints", every_n_train_steps=2, save_top_k=-1)
    options: dict[str, Any] = {"enable_checkpointing": True, "plugins": [Slow()]}
    trainer = quiet_trainer(pl, default_root_dir=tmp_path, max_epochs=1, callbacks=[Trains(), checkpoints], **options)
    began_s = time.perf_counter()
    trainer.fit(module_of(watch), DataLoader(Data(watch, "data_wait", 8), 2))
    wall_s = time.perf_counter() - began_s
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    found = spent_s()
    assert sum(found.values()) == whole(wall_s)
    assert found["checkpoint", "fit"] >= watch.spent_s["checkpoint"] - 0.001


def test_nothing_is_noted_where_it_is_turned_off(tmp_path, spent_s, monkeypatch):
    LightningInstrumentor().uninstrument()
    monkeypatch.setenv("TRACELET_TRACK_TIME", "false")
    seen = []

    class Looks(pl.Callback):
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            seen.append(vars(trainer.profiler).keys() & {"profile", "start", "stop"})

    with tracelet.start_logging(config={"backend": "otlp", "otlp_endpoint": "http://127.0.0.1:1", "stop_timeout": 0.1}):
        trainer = quiet_trainer(pl, default_root_dir=tmp_path, max_epochs=1, callbacks=[Looks()])
        trainer.fit(module_of(Stopwatch()), DataLoader(Data(Stopwatch(), "data_wait", 4), 2))
    assert seen == [set(), set()]
