"""Steps of real trainings: in metrics, and in the rows of trackers."""

from __future__ import annotations

import importlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric
from torch.utils.data import DataLoader, TensorDataset

import tracelet_otel as tracelet
from tests.support.quiet import quiet_trainer
from tests.support.sdk import points_of
from tests.support.timed import PAUSE_S, Data, Stopwatch, module_of
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.lightning import LightningInstrumentor
from tracelet_otel.instrumentation.signals import make_signals
from tracelet_otel.instrumentation.timing.timing import Timing

pytestmark = pytest.mark.usefixtures("with_time")
pl = importlib.import_module("lightning.pytorch")


class Watched:
    """The metrics of this process."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def read(self) -> dict[str, Any]:
        """The only point of each metric of the run."""
        data = self.reader.get_metrics_data()
        metrics: list[Metric] = [
            metric
            for resource in (data.resource_metrics if data else [])
            for scope in resource.scope_metrics
            if scope.scope.name == semconv.SCOPE_RUN
            for metric in scope.metrics
        ]
        return {one.name: one.data.data_points[0] for one in metrics if len(one.data.data_points) == 1}


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    LightningInstrumentor().instrument(meter_provider=watched.provider)
    yield watched
    LightningInstrumentor().uninstrument()
    watched.provider.shutdown()


def test_steps_are_counted_and_measured(tmp_path, watched):
    trainer = quiet_trainer(
        pl, default_root_dir=tmp_path, max_epochs=2, accumulate_grad_batches=2, val_check_interval=2
    )
    watch = Stopwatch()
    model = module_of(watch)
    trainer.fit(model, DataLoader(Data(watch, "data_wait", 9), 2), DataLoader(Data(watch, "validation", 4), 2))
    found = watched.read()
    assert found[semconv.TRAINER_STEPS].value == 10
    # Nine samples in five batches, twice.
    assert found[semconv.TRAINER_SAMPLES].value == 18
    durations = found[semconv.STEP_DURATION]
    assert durations.count == 10
    # A step waits for two samples, the transfer, forward and backward; never for the validation.
    assert durations.min >= 4 * PAUSE_S
    parts = ("data_wait", "transfer", "forward", "backward", "optimizer")
    assert durations.sum >= sum(watch.spent_s[part] for part in parts) - 10 * 0.001
    assert durations.sum <= sum(watch.spent_s.values()) - watch.spent_s["validation"] + 1


@pytest.mark.parametrize(
    ("limits", "shares"),
    [
        ({"max_epochs": 4}, [1 / 16, 8 / 16, 15 / 16]),
        ({"max_epochs": 4, "max_steps": 8}, [1 / 8, 1.0, None]),
        ({"max_epochs": -1, "max_steps": 8}, [1 / 8, 1.0, None]),
        ({"max_epochs": 4, "limit_train_batches": 2}, [1 / 8, 1.0, None]),
    ],
    ids=str,
)
def test_progress_by_the_limits_of_the_trainer(tmp_path, watched, limits, shares):
    seen: dict[int, Any] = {}

    class Looks(pl.Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            found = watched.read()
            done = trainer.global_step
            seen[done] = found[semconv.TRAINER_PROGRESS].value
            if done > 2:
                left = found[semconv.TRAINER_TIME_REMAINING]
                assert 0 <= left.value < 60

    trainer = quiet_trainer(pl, default_root_dir=tmp_path, callbacks=[Looks()], **limits)
    trainer.fit(module_of(Stopwatch()), DataLoader(TensorDataset(torch.zeros(8, 4)), 2, collate_fn=_stacked))
    ended = watched.read()
    seen[trainer.global_step] = ended[semconv.TRAINER_PROGRESS].value
    assert [seen.get(done) for done in (1, 8, 15)] == shares
    assert ended[semconv.TRAINER_PROGRESS].value == 1
    assert semconv.TRAINER_TIME_REMAINING not in ended


def test_progress_by_time(tmp_path, watched):
    class Looks(pl.Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.global_step == 3:
                found = watched.read()
                assert 0 < found[semconv.TRAINER_PROGRESS].value < 0.1
                assert 3_000 < found[semconv.TRAINER_TIME_REMAINING].value < 3_600
                trainer.should_stop = True

    limits: dict[str, Any] = {"max_epochs": -1, "max_time": timedelta(hours=1)}
    trainer = quiet_trainer(pl, default_root_dir=tmp_path, callbacks=[Looks()], **limits)
    trainer.fit(module_of(Stopwatch()), DataLoader(TensorDataset(torch.zeros(16, 4)), 2, collate_fn=_stacked))


def test_no_progress_is_said_without_a_limit(tmp_path, watched):
    class Stops(pl.Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            assert not {semconv.TRAINER_PROGRESS, semconv.TRAINER_TIME_REMAINING} & set(watched.read())
            trainer.should_stop = trainer.global_step == 3

    trainer = quiet_trainer(pl, default_root_dir=tmp_path, callbacks=[Stops()], max_epochs=-1)
    trainer.fit(module_of(Stopwatch()), DataLoader(TensorDataset(torch.zeros(8, 4)), 2, collate_fn=_stacked))


def _stacked(rows: list[Any]) -> torch.Tensor:
    return torch.stack([row[0] for row in rows])


def test_rows_of_a_tracker_say_where_the_time_went(tmp_path, migrated_database):
    """In MLflow: at the steps at which the training logs, and as much as the training took for the steps."""
    watch = Stopwatch()
    trainer = quiet_trainer(pl, default_root_dir=tmp_path, max_epochs=3, log_every_n_steps=2)
    uri = f"sqlite:///{shutil.copy(migrated_database, tmp_path / 'mlflow.db')}"
    config: dict[str, Any] = {"backend": "mlflow", "backend_url": uri}
    with tracelet.start_logging(config=config) as run:
        began_s = time.perf_counter()
        trainer.fit(module_of(watch), DataLoader(Data(watch, "data_wait", 8), 2))
        took_s = time.perf_counter() - began_s
    client = MlflowClient(uri)
    [found] = client.search_runs(
        [one.experiment_id for one in client.search_experiments()],
        f"tags.`{semconv.RUN_ID}` = '{run.id}'",
    )
    histories = {name: client.get_metric_history(found.info.run_id, name) for name in found.data.metrics}
    timed = {name: {one.step: one.value for one in points} for name, points in histories.items() if "time/" in name}
    steps = [1, 3, 5, 7, 9, 11]
    assert {name: list(points) for name, points in timed.items()} == dict.fromkeys(
        [*(f"time/{phase}" for phase in semconv.PHASES), semconv.TIME_SAMPLES_PER_SECOND], steps
    )
    assert [one.step for one in histories["loss"]] == steps
    # Each value is the mean of the two steps before.
    for part in ("data_wait", "forward", "backward", "optimizer", "transfer"):
        assert 2 * sum(timed[f"time/{part}"].values()) >= watch.spent_s[part] - 0.001, part
    assert 2 * sum(sum(timed[f"time/{phase}"].values()) for phase in semconv.PHASES) <= took_s
    fastest = 2 / (2 * PAUSE_S + 4 * PAUSE_S)
    assert all(0 < rate <= fastest for rate in timed[semconv.TIME_SAMPLES_PER_SECOND].values())


def test_a_metric_of_the_users_keeps_its_value(tmp_path, watched):
    class Logs(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("time/forward", 42.0)
            return self.layer(batch).sum()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.01)

    trainer = quiet_trainer(pl, default_root_dir=tmp_path, max_epochs=1, log_every_n_steps=1)
    trainer.fit(Logs(), DataLoader(TensorDataset(torch.zeros(8, 4)), 2, collate_fn=_stacked))
    values = [point.value for point in points_of(watched.reader, "time/forward", semconv.SCOPE_LOGGED)]
    assert values == [42.0]


def slow(tmp_path, kind: type[Data] = Data) -> None:
    """A training that waits for its data."""
    watch = Stopwatch(0)
    trainer = quiet_trainer(pl, default_root_dir=tmp_path, max_epochs=1)
    trainer.fit(module_of(watch), DataLoader(kind(Stopwatch(), "data_wait", 50), 2))


def test_the_verdict_is_in_the_stream(tmp_path):
    """While the training goes on, of what came since the last one, and at the end of the whole."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    timing = Timing(provider, Guard(), verdict_every_s=0.1)
    LightningInstrumentor().take_over(replace(make_signals(provider, Guard()), timing=timing))

    def read() -> list[Any]:
        return [(point.attributes, point.value) for point in points_of(reader, semconv.RUN_VERDICT)]

    class Looks(Data):
        """Of which loading includes the looking, so that it is a wait for data, however long it takes."""

        def __getitem__(self, index: int) -> Any:
            if index in (0, 20):
                assert not read()
            return super().__getitem__(index)

    try:
        slow(tmp_path, Looks)
        [(attributes, share)] = read()
        assert attributes == {semconv.VERDICT: semconv.VERDICT_INPUT}
        assert share > 0.2
        timing.conclude()
        assert timing.verdict is not None
        [(attributes, share)] = read()
        assert (attributes, share) == ({semconv.VERDICT: semconv.VERDICT_INPUT}, timing.verdict.share)
    finally:
        LightningInstrumentor().uninstrument()
        provider.shutdown()


def test_a_tracker_has_the_verdict_as_a_tag_and_below_the_note(tmp_path, migrated_database):
    uri = f"sqlite:///{shutil.copy(migrated_database, tmp_path / 'mlflow.db')}"
    config: dict[str, Any] = {"backend": "mlflow", "backend_url": uri, "notes": "mine"}
    with tracelet.start_logging(config=config) as run:
        slow(tmp_path)
    [found] = (client := MlflowClient(uri)).search_runs(
        [one.experiment_id for one in client.search_experiments()], f"tags.`{semconv.RUN_ID}` = '{run.id}'"
    )
    assert found.data.tags[semconv.VERDICT] == semconv.VERDICT_INPUT
    note, verdict, ended, _ = found.data.tags["mlflow.note.content"].split("\n\n")
    assert note == "mine"
    assert verdict.startswith("input-bound: ")
    assert ended.startswith("**Finished** after ")
    assert "[where the time went](#/experiments/" in ended


@pytest.mark.parametrize("summary", [True, False])
def test_the_end_says_where_the_time_went(tmp_path, capsys, summary):
    config: dict[str, Any] = {"backend": "otlp", "otlp_endpoint": "http://127.0.0.1:1", "stop_timeout": 0.1}
    with tracelet.start_logging(config={**config, "summary": summary, "quiet": False}):
        slow(tmp_path)
    shown = [line for line in capsys.readouterr().err.splitlines() if "steps in" in line or "input-bound" in line]
    if summary:
        assert shown[0].startswith("  25 steps in ")
        assert shown[1].startswith("    input-bound: ")
    else:
        assert not shown
