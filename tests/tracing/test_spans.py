"""The spans that real trainings leave, as an endpoint gets them."""

from __future__ import annotations

import importlib
import sys
import time
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from tests.support.quiet import quiet_trainer
from tests.support.span_tree import shapes
from tests.support.trainings import loader, namespace, regression, with_a_learning_rate
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.lightning import LightningInstrumentor
from tracelet_otel.instrumentation.own_run import Participation
from tracelet_otel.instrumentation.signals import make_signals, traced
from tracelet_otel.protocol.spans import FinishedSpan

pl = importlib.import_module("lightning.pytorch")
pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("with_time")]


class FailedError(Exception):
    """What a user's code raises."""


FAILED = f"{__name__}.FailedError"


def steps(begin: int, end: int | None = None) -> dict[str, Any]:
    return {"step.begin": begin, "step.end": begin if end is None else end}


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
@pytest.mark.parametrize("profiler", [None, "simple"])
def test_a_fit_with_validations_and_checkpoints(tmp_path, recorded, package, profiler):
    pl = namespace(package)
    trainer = quiet_trainer(
        pl, max_epochs=2, enable_checkpointing=True, default_root_dir=tmp_path, val_check_interval=4, profiler=profiler
    )
    (fit,) = recorded(lambda: trainer.fit(regression(pl), loader(), loader(16, seed=1)))
    saved = next(tmp_path.rglob("*.ckpt")).stat().st_size

    def validation(epoch: int, step: int) -> Any:
        file = {"file.name": f"epoch={epoch}-step={step + 1}.ckpt", "file.size": saved}
        checkpoint = ("checkpoint.save", {"epoch": epoch, **steps(step), **file})
        return "validation", {"epoch": epoch, **steps(step)}, [checkpoint]

    assert fit.shape == (
        "fit",
        steps(0, 16),
        [
            ("setup", steps(0)),
            ("validation", {"epoch": 0, "sanity_check": True, **steps(0)}),
            ("epoch", {"epoch": 0, **steps(0, 8)}, [validation(0, 3), validation(0, 7)]),
            ("epoch", {"epoch": 1, **steps(8, 16)}, [validation(1, 11), validation(1, 15)]),
        ],
    )
    assert not vars(trainer).keys() & {"save_checkpoint"}


def test_times_are_those_of_the_training(recorded):
    began_ns = time.time_ns()
    pause_s = 0.05

    class Waits(pl.Callback):
        def setup(self, *_: Any, **__: Any) -> None:
            time.sleep(pause_s)

        on_train_epoch_start = on_validation_epoch_start = setup

    trainer = quiet_trainer(pl, max_epochs=1, num_sanity_val_steps=0, callbacks=[Waits()])
    (fit,) = recorded(lambda: trainer.fit(regression(pl), loader(), loader(16, seed=1)))
    setup, epoch = fit.children
    (validation,) = epoch.children
    assert began_ns <= fit.begin_ns == setup.begin_ns < setup.end_ns == epoch.begin_ns
    assert epoch.begin_ns < validation.begin_ns < validation.end_ns < epoch.end_ns < fit.end_ns <= time.time_ns()
    for span in (setup, validation):
        assert span.end_ns - span.begin_ns >= pause_s * 1e9
    assert epoch.end_ns - epoch.begin_ns >= pause_s * 1e9


def test_calls_that_evaluate(recorded):
    def train() -> None:
        for call in ("validate", "test", "predict"):
            trainer = quiet_trainer(pl)
            options = {} if call == "predict" else {"verbose": False}
            getattr(trainer, call)(regression(pl), loader(8), **options)
            assert "run" not in vars(getattr(trainer, f"{call}_loop"))

    found = recorded(train)
    assert shapes(found) == [(call, steps(0), [("setup", steps(0))]) for call in ("validate", "test", "predict")]
    assert len({span.trace_id for span in found}) == 1


def test_a_trainer_in_a_callback_of_another_one(recorded):
    class Validates(pl.Callback):
        def on_train_epoch_end(self, *_: Any) -> None:
            quiet_trainer(pl).validate(regression(pl), loader(8), verbose=False)

    trainer = quiet_trainer(pl, max_epochs=1, num_sanity_val_steps=0, callbacks=[Validates()])
    (fit,) = recorded(lambda: trainer.fit(regression(pl), loader(16)))
    inner = ("validate", steps(0), [("setup", steps(0))])
    assert fit.shape == ("fit", steps(0, 4), [("setup", steps(0)), ("epoch", {"epoch": 0, **steps(0, 4)}), inner])


def test_the_tuner_and_a_checkpoint_of_the_users(recorded, tmp_path):
    class Saves(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 2:
                trainer.save_checkpoint(filepath=str(tmp_path / "own.ckpt"), weights_only=True)

    module = with_a_learning_rate(pl)

    def train() -> None:
        trainer = quiet_trainer(pl, max_epochs=1, callbacks=[Saves()])
        pl.tuner.Tuner(trainer).lr_find(module, loader(), num_training=3)
        trainer.fit(module, loader())

    (fit,) = recorded(train)
    size = (tmp_path / "own.ckpt").stat().st_size
    checkpoint = ("checkpoint.save", {"epoch": 0, **steps(1), "file.name": "own.ckpt", "file.size": size})
    assert fit.shape == (
        "fit", steps(0, 8), [("setup", steps(0)), ("epoch", {"epoch": 0, **steps(0, 8)}, [checkpoint])]
    )  # fmt: skip


@pytest.mark.parametrize("profiler", [None, "simple"])
@pytest.mark.parametrize("error", [FailedError, KeyboardInterrupt])
@pytest.mark.parametrize("is_handling", [False, True], ids=["", "where another one is handled"])
def test_what_raises_is_on_each_span_that_it_ends(recorded, profiler, error, is_handling):
    def validation_step(self: Any, batch: Any, batch_idx: int) -> None:
        if not self.trainer.sanity_checking and self.trainer.current_epoch == 1:
            raise error

    trainer = quiet_trainer(pl, max_epochs=3, profiler=profiler)
    module = regression(pl, validation_step=validation_step)

    def call() -> None:
        # Lightning takes Ctrl-C for the end of the process.
        with pytest.raises(SystemExit if error is KeyboardInterrupt else error):
            trainer.fit(module, loader(16), loader(8))

    def train() -> None:
        if not is_handling:
            call()
            return
        try:
            int("no number")
        except ValueError:
            call()

    (fit,) = recorded(train)
    raised = {"error.type": "KeyboardInterrupt" if error is KeyboardInterrupt else FAILED}
    assert fit.shape == (
        "fit",
        {**steps(0, 7), **raised},
        [
            ("setup", steps(0)),
            ("validation", {"epoch": 0, "sanity_check": True, **steps(0)}),
            ("epoch", {"epoch": 0, **steps(0, 4)}, [("validation", {"epoch": 0, **steps(3)})]),
            ("epoch", {"epoch": 1, **steps(4, 7), **raised}, [("validation", {"epoch": 1, **steps(7), **raised})]),
        ],
    )
    (_, _, first, second) = fit.children
    assert [span.is_error for span in (fit, first, second, *second.children)] == [True, False, True, True]


def test_a_checkpoint_that_cannot_be_written(recorded, tmp_path):
    class Saves(pl.Callback):
        def on_train_start(self, trainer: Any, *_: Any) -> None:
            (tmp_path / "file").touch()
            trainer.save_checkpoint(tmp_path / "file" / "in it.ckpt")

    trainer = quiet_trainer(pl, max_epochs=1, callbacks=[Saves()])

    def train() -> None:
        with pytest.raises(OSError, match="file"):
            trainer.fit(regression(pl), loader(16))

    (fit,) = recorded(train)
    (_, checkpoint) = fit.children
    assert fit.attributes["error.type"] == checkpoint.attributes["error.type"]
    assert fit.shape == (
        "fit",
        {**steps(0), "error.type": fit.attributes["error.type"]},
        [
            ("setup", steps(0)),
            ("checkpoint.save", {"epoch": 0, **steps(0), "error.type": fit.attributes["error.type"]}),
        ],
    )


def test_sys_exit_that_is_no_error(recorded):
    class Leaves(pl.Callback):
        def on_train_start(self, *_: Any) -> None:
            sys.exit(0)

    trainer = quiet_trainer(pl, max_epochs=1, callbacks=[Leaves()])

    def train() -> None:
        with pytest.raises(SystemExit):
            trainer.fit(regression(pl), loader(16))

    (fit,) = recorded(train)
    assert (fit.shape, fit.is_error) == (("fit", steps(0), [("setup", steps(0))]), False)


def test_workers_that_are_forked_send_nothing(recorded):
    trainer = quiet_trainer(pl, max_epochs=2)
    workers = {"num_workers": 2, "multiprocessing_context": "fork"}
    (fit,) = recorded(lambda: trainer.fit(regression(pl), loader(16, **workers)))
    epochs = [("epoch", {"epoch": epoch, **steps(4 * epoch, 4 * epoch + 4)}) for epoch in range(2)]
    assert fit.shape == ("fit", steps(0, 8), [("setup", steps(0)), *epochs])


def test_parts_of_what_goes_on_for_long():
    """A training that is killed leaves them."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    signals = traced(
        make_signals(provider, Guard(), participation=Participation(tracks_time=True)),
        provider,
        lambda: "run",
        progress_s=0.05,
    )
    kept: list[FinishedSpan] = []
    signals.tracing.add_exporter(SimpleNamespace(export=lambda spans, trace: kept.extend(spans)))
    LightningInstrumentor().take_over(signals)

    class Waits(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            time.sleep(0.06)
            reader.collect()

    trainer = quiet_trainer(pl, max_epochs=1, callbacks=[Waits()])
    trainer.fit(regression(pl), loader(16))
    LightningInstrumentor().uninstrument()
    provider.shutdown()
    setup, *parts = kept
    assert (setup.name, {part.name for part in parts}) == ("setup", {"progress"})
    assert [dict(part.attributes) for part in parts] == [
        {semconv.EPOCH: 0, semconv.STEP_BEGIN: max(step - 1, 0), semconv.STEP_END: step} for step in range(4)
    ]
    # Of the epoch, which was never collected as it has ended since.
    (epoch,) = {part.parent_id for part in parts}
    assert epoch not in (None, setup.parent_id)
    assert parts[0].begin_unix_nano == setup.end_unix_nano
    for part, following in pairwise(parts):
        assert part.end_unix_nano == following.begin_unix_nano
