"""Checkpoints of real trainings: what is said of them, and which of them wait to be uploaded."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.io import AsyncCheckpointIO
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from tests.support.quiet import quiet_trainer
from tests.support.sdk import points_of
from tests.support.trainings import loader, regression
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.lightning import LightningInstrumentor
from tracelet_otel.instrumentation.own_run import Participation
from tracelet_otel.instrumentation.signals import Signals, make_signals
from tracelet_otel.protocol.events import Event
from tracelet_otel.protocol.files import RunFile, entry_names, read_entry

pl = importlib.import_module("lightning.pytorch")
SCORES = [5.0, 3.0, 4.0, 1.0, 2.0, 6.0]


class Recording:
    """A run in this process: its events, and its spool, of which nothing is taken away."""

    def __init__(self, directory: Path, policy: str) -> None:
        self.run_id = "r1"
        self.spool = directory / "r1.files"
        self.guard = Guard()
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider([self._reader], shutdown_on_exit=False)
        part = Participation(checkpoints=policy, journals=directory)
        self.signals: Signals = make_signals(self._provider, self.guard, participation=part)
        self.signals.spool.open(self)
        self.signals.events.add_exporter(self)
        self.events: list[Event] = []

    def export_events(self, events: list[Event]) -> None:
        self.events += events

    @property
    def saved(self) -> dict[str, Any]:
        """Attributes of the last event of each file that is there, by path."""
        found: dict[str, Any] = {}
        for event in self.events:
            if event.name == semconv.EVENT_CHECKPOINT_SAVED:
                found[event.attributes[semconv.FILE_PATH]] = event.attributes
            elif event.name == semconv.EVENT_CHECKPOINT_REMOVED:
                del found[event.attributes[semconv.FILE_PATH]]
        return found

    @property
    def count(self) -> int:
        """How many files were written, as it is counted."""
        return sum(point.value for point in points_of(self._reader, semconv.CHECKPOINTS))

    @property
    def entries(self) -> list[RunFile]:
        return [read_entry(self.spool / name).file for name in entry_names(self.spool)]

    @property
    def waiting(self) -> dict[str, bytes]:
        """Content of each file that waits to be uploaded, by path."""
        entries = [read_entry(self.spool / name) for name in entry_names(self.spool)]
        return {one.file.checkpoint.path: one.content.read_bytes() for one in entries if one.content is not None}

    def end(self) -> None:
        self._provider.shutdown()


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Callable[..., Recording]]:
    made: list[Recording] = []

    def start(policy: str = "reference") -> Recording:
        made.append(Recording(tmp_path / "journals", policy))
        LightningInstrumentor().instrument(signals=made[-1].signals)
        return made[-1]

    yield start
    LightningInstrumentor().uninstrument()
    for one in made:
        one.end()


class Scored(Callback):
    """Each epoch has a score that is known in advance."""

    def __init__(self, scores: list[float]) -> None:
        self.scores = scores

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            pl_module.log("score", torch.tensor(self.scores[trainer.current_epoch]))


def fit(*callbacks: Any, scores: list[float] = SCORES, module: Any = None, **options: Any) -> Any:
    options = {"max_epochs": len(scores), "enable_checkpointing": True, **options}
    trainer = quiet_trainer(pl, callbacks=[Scored(scores), *callbacks], **options)
    trainer.fit(module or regression(pl), loader(), loader())
    return trainer


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in directory.iterdir() if not file.is_symlink()}


def sizes(directory: Path) -> dict[str, int]:
    return {path: len(content) for path, content in files_of(directory).items()}


def test_every_file_that_is_there_is_known_with_its_size_score_and_place(record, tmp_path):
    run = record()
    keeper = ModelCheckpoint(tmp_path / "ck", monitor="score", save_top_k=2, save_last=True)
    trainer = fit(keeper)
    run.signals.checkpoints.take()
    assert {path: one[semconv.FILE_SIZE] for path, one in run.saved.items()} == sizes(tmp_path / "ck")
    assert {
        path: one[semconv.CHECKPOINT_SCORE] for path, one in run.saved.items() if one[semconv.CHECKPOINT_IS_TOP_K]
    } == {path: float(score) for path, score in keeper.best_k_models.items()}
    assert [path for path, one in run.saved.items() if one[semconv.CHECKPOINT_IS_BEST]] == [keeper.best_model_path]
    assert [path for path, one in run.saved.items() if one[semconv.CHECKPOINT_IS_LAST]] == [keeper.last_model_path]
    best = run.saved[keeper.best_model_path]
    told = (semconv.CHECKPOINT_MONITOR, semconv.CHECKPOINT_MODE, semconv.EPOCH, semconv.CHECKPOINT_STEP)
    assert [best[name] for name in told] == ["score", "min", 3, 4 * trainer.num_training_batches]
    assert run.waiting == {}
    assert run.guard.counts == {}
    # Written: 5, 3, 4, 1, 2, each with the last one beside it; 6 is not among the best.
    assert run.count == 10


@pytest.mark.parametrize("policy", ["best", "top_k", "all"])
def test_what_waits_to_be_uploaded_is_what_is_to_be_in_the_store(record, tmp_path, policy):
    run = record(policy)
    keeper = ModelCheckpoint(tmp_path / "ck", monitor="score", save_top_k=2, save_last=True)
    fit(keeper)
    by_hand = tmp_path / "ck" / "by hand.ckpt"
    trainer = fit(keeper_that_calls(by_hand), scores=[1.0], enable_checkpointing=False)
    assert trainer.current_epoch == 1
    run.signals.checkpoints.take()
    there = files_of(tmp_path / "ck")
    kept = {
        "best": {keeper.best_model_path},
        "top_k": there.keys() - {str(by_hand)},
        "all": there.keys(),
    }[policy]
    assert run.waiting == {path: content for path, content in there.items() if path in kept}
    assert {one.checkpoint.path for one in run.entries if not one.checkpoint.is_removed} == there.keys()
    assert run.guard.counts == {}


def keeper_that_calls(path: Path) -> Any:
    class SavesByHand(Callback):
        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            trainer.save_checkpoint(path)

    return SavesByHand()


def test_without_a_metric_the_newest_is_the_best(record, tmp_path):
    run = record("best")
    keeper = ModelCheckpoint(tmp_path / "ck", every_n_train_steps=3)
    fit(keeper)
    run.signals.checkpoints.take()
    (path,) = run.saved
    assert path == keeper.best_model_path
    assert semconv.CHECKPOINT_SCORE not in run.saved[path]
    assert run.waiting == files_of(tmp_path / "ck")


def test_a_last_one_that_is_a_link_is_no_file_of_its_own(record, tmp_path):
    run = record("top_k")
    keeper = ModelCheckpoint(tmp_path / "ck", monitor="score", save_top_k=1, save_last="link")
    fit(keeper)
    run.signals.checkpoints.take()
    assert run.waiting == files_of(tmp_path / "ck")
    assert [one[semconv.CHECKPOINT_IS_LAST] for one in run.saved.values()] == [True]


def test_a_score_that_is_no_number_is_the_worst(record, tmp_path):
    run = record()
    keeper = ModelCheckpoint(tmp_path / "ck", monitor="score", save_top_k=-1, mode="max")
    fit(keeper, scores=[1.0, math.nan])
    run.signals.checkpoints.take()
    assert [one[semconv.CHECKPOINT_SCORE] for one in run.saved.values()] == [1.0, -math.inf]


class SlowIO(pl.plugins.io.TorchCheckpointIO):
    """Writes in two parts, with time between them."""

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(b"a half of it")
        time.sleep(0.2)
        super().save_checkpoint(checkpoint, path, storage_options)


def test_a_file_that_a_thread_writes_is_told_when_it_is_whole(record, tmp_path):
    run = record("all")
    keeper = ModelCheckpoint(tmp_path / "ck", monitor="score", save_top_k=-1)
    early: list[int] = []

    class Watches(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            run.signals.checkpoints.take()
            early.append(len(run.saved))

    fit(keeper, Watches(), scores=[3.0, 2.0, 1.0], plugins=[AsyncCheckpointIO(SlowIO())])
    run.signals.checkpoints.take()
    assert early[:2] == [0, 0]
    assert {path: one[semconv.FILE_SIZE] for path, one in run.saved.items()} == sizes(tmp_path / "ck")
    assert run.waiting == files_of(tmp_path / "ck")


def test_a_file_that_cannot_be_written_is_not_told(record, tmp_path):
    run = record("all")

    class BrokenIO(pl.plugins.io.TorchCheckpointIO):
        def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        fit(ModelCheckpoint(tmp_path / "ck", monitor="score"), plugins=[BrokenIO()])
    run.signals.checkpoints.take()
    assert (run.events, run.entries) == ([], [])


def test_what_is_written_when_a_training_fails_is_there(record, tmp_path):
    run = record("top_k")

    class Fails(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 2:
                raise RuntimeError("diverged")

    keeper = ModelCheckpoint(tmp_path / "ck", monitor="score", save_top_k=-1)
    with pytest.raises(RuntimeError, match="diverged"):
        fit(keeper, Fails())
    run.signals.checkpoints.take()
    assert run.waiting == files_of(tmp_path / "ck")
    assert len(run.waiting) == 2


def test_two_trainings_that_write_files_of_one_name_have_two_names(record, tmp_path):
    run = record()
    for fold in ("one", "two"):
        fit(ModelCheckpoint(tmp_path / fold / "ck", filename="best", monitor="score"), scores=[1.0])
    run.signals.checkpoints.take()
    assert {Path(one.checkpoint.path).relative_to(tmp_path).as_posix(): one.name for one in run.entries} == {
        "one/ck/best.ckpt": "best.ckpt",
        "two/ck/best.ckpt": "ck/best.ckpt",
    }


def test_two_callbacks_have_a_best_one_each(record, tmp_path):
    run = record("best")
    keepers = [ModelCheckpoint(tmp_path / mode, monitor="score", mode=mode, save_top_k=-1) for mode in ("min", "max")]
    fit(*keepers)
    run.signals.checkpoints.take()
    assert run.waiting.keys() == {keeper.best_model_path for keeper in keepers}


def test_off_notes_nothing_and_sets_nothing(record, tmp_path):
    run = record("off")
    seen: list[bool] = []

    class Looks(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            seen.append("save_checkpoint" in vars(trainer) or "remove_checkpoint" in vars(trainer.strategy))

    fit(ModelCheckpoint(tmp_path / "ck", monitor="score"), Looks())
    run.signals.checkpoints.take()
    assert (run.events, run.entries, run.count, seen) == ([], [], 0, [False])


def test_nothing_that_was_set_stays(record, tmp_path):
    record("all")
    trainer = fit(ModelCheckpoint(tmp_path / "ck", monitor="score"), plugins=[AsyncCheckpointIO()])
    owners = [trainer, trainer.strategy, trainer.strategy.checkpoint_io, trainer.strategy.checkpoint_io.checkpoint_io]
    for owner in owners:
        assert not {"save_checkpoint", "remove_checkpoint"} & vars(owner).keys()
