"""The norm of gradients: as the training itself would measure it, and without a change of the training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import SingleDeviceStrategy

import tracelet_otel as tracelet
from tests.integration.conftest import IN_PROCESS
from tests.support.mlflow_store import stored_run
from tests.support.quiet import quiet_trainer
from tests.support.sdk import KeepingExporter, provider, reader
from tests.support.trainings import NAMESPACES, loader, namespace, regression, two_optimizers
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.lightning import LightningInstrumentor
from tracelet_otel.instrumentation.signals import make_signals

pl = namespace("lightning.pytorch")
SAID = "the norm of gradients is not recorded"


@dataclass
class Recorded:
    guard: Guard
    read: Callable[[], list[tuple[str, int, float, str]]]
    """Name, step, value and axis of each norm."""


@pytest.fixture
def every(request: pytest.FixtureRequest) -> int:
    return getattr(request, "param", 1)


@pytest.fixture
def recorded(every: int) -> Iterator[Recorded]:
    keeping, guard = KeepingExporter(), Guard()
    metrics = provider(only := reader(keeping))
    LightningInstrumentor().take_over(replace(make_signals(metrics, guard), gradients_every=every))

    def read() -> list[tuple[str, int, float, str]]:
        only.collect()
        found = sorted(keeping.readings, key=lambda reading: reading.sequence)
        return [(r.name, r.step, r.value, r.axis) for r in found if r.name.startswith(semconv.GRAD_NORM)]

    yield Recorded(guard, read)
    LightningInstrumentor().uninstrument()
    metrics.shutdown()


def total(parameters: Any) -> float:
    return float(torch.linalg.vector_norm(torch.cat([one.grad.flatten() for one in parameters])))


def measuring(pl: Any, seen: list[tuple[int, float]], **overrides: Any) -> Any:
    """A module that measures its gradients itself, at each step of its optimizer."""

    def on_before_optimizer_step(self, optimizer):
        seen.append((self.trainer.fit_loop.epoch_loop._batches_that_stepped, total(self.parameters())))

    return regression(pl, on_before_optimizer_step=on_before_optimizer_step, **overrides)


def same(found: list[Any], seen: list[tuple[int, float]]) -> bool:
    """Whether what was recorded under the plain name is what was seen, to what the order of a sum may change."""
    return found == [
        (semconv.GRAD_NORM, step, pytest.approx(norm, rel=1e-6), semconv.AXIS_TRAINER) for step, norm in seen
    ]


@pytest.mark.parametrize("package", NAMESPACES)
@pytest.mark.parametrize("every", [1, 3], indirect=True)
def test_each_n_steps_before_clipping_and_once_where_gradients_are_accumulated(recorded, every, package):
    pl, seen = namespace(package), []
    options = {"max_epochs": 2, "accumulate_grad_batches": 2, "gradient_clip_val": 1e-3}
    quiet_trainer(pl, **options).fit(measuring(pl, seen), loader(44))
    assert len(seen) == 12
    assert same(recorded.read(), seen[every - 1 :: every])
    assert recorded.guard.counts == {}


@pytest.mark.parametrize("every", [3], indirect=True)
def test_steps_are_counted_on_in_a_second_fit_and_after_a_checkpoint(recorded, tmp_path):
    seen: list[tuple[int, float]] = []
    module = measuring(pl, seen)
    trainer = quiet_trainer(pl, max_steps=4)
    trainer.fit(module, loader())
    trainer.fit_loop.epoch_loop.max_steps = 8
    trainer.fit(module, loader())
    trainer.save_checkpoint(tmp_path / "resume.ckpt")
    quiet_trainer(pl, max_steps=14).fit(module, loader(), ckpt_path=tmp_path / "resume.ckpt")
    assert len(seen) == 14
    assert same(recorded.read(), seen[2::3])


def test_each_of_several_optimizers_has_its_own(recorded):
    seen: dict[str, list[tuple[int, float]]] = {}
    module = two_optimizers(pl)

    def on_before_optimizer_step(self, optimizer):
        place = self.trainer.optimizers.index(optimizer)
        of_this = seen.setdefault(f"{semconv.GRAD_NORM}/optimizer_{place}", [])
        of_this.append((self.trainer.fit_loop.epoch_loop._batches_that_stepped, total(self.parameters())))

    type(module).on_before_optimizer_step = on_before_optimizer_step
    quiet_trainer(pl, max_epochs=1).fit(module, loader())
    found = recorded.read()
    assert {name: [(step, value) for one, step, value, _ in found if one == name] for name in seen} == {
        name: [(step, pytest.approx(norm, rel=1e-6)) for step, norm in norms] for name, norms in seen.items()
    }
    assert [len(norms) for norms in seen.values()] == [8, 8]
    assert len(found) == 16


@pytest.mark.parametrize("log_every_n_steps", [1, 5])
def test_a_metric_of_the_users_keeps_its_value(recorded, log_every_n_steps):
    def on_before_optimizer_step(self, optimizer):
        self.log(semconv.GRAD_NORM, 42.0)

    module = regression(pl, on_before_optimizer_step=on_before_optimizer_step)
    quiet_trainer(pl, max_epochs=1, log_every_n_steps=log_every_n_steps).fit(module, loader())
    logged_at = range(log_every_n_steps - 1, 8, log_every_n_steps)
    assert recorded.read() == [(semconv.GRAD_NORM, step, 42.0, semconv.AXIS_TRAINER) for step in logged_at]


def test_a_metric_of_the_users_that_no_logger_gets_is_in_nobodys_way(recorded):
    def on_before_optimizer_step(self, optimizer):
        self.log(semconv.GRAD_NORM, 42.0, prog_bar=True, logger=False)

    quiet_trainer(pl, max_epochs=1).fit(regression(pl, on_before_optimizer_step=on_before_optimizer_step), loader())
    assert [step for _, step, *_ in recorded.read()] == list(range(8))
    assert all(value != 42 for *_, value, _ in recorded.read())


def test_the_norm_before_a_failure_is_there(recorded):
    seen: list[tuple[int, float]] = []

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if batch_idx == 2:
            raise ArithmeticError

    class FailsFirst(pl.Callback):
        on_train_batch_end = lambda self, trainer, module, *batch: on_train_batch_end(module, *batch)  # noqa: E731

    with pytest.raises(ArithmeticError):
        quiet_trainer(pl, max_epochs=1, callbacks=[FailsFirst()]).fit(measuring(pl, seen), loader())
    assert len(seen) == 3
    assert same(recorded.read(), seen)


def test_gradients_are_unscaled_in_mixed_precision(recorded):
    seen: list[tuple[int, float]] = []
    precision = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=64.0))
    quiet_trainer(pl, max_epochs=1, plugins=[precision]).fit(measuring(pl, seen), loader())
    assert same(recorded.read(), seen)
    assert 0 < seen[0][1] < 20


class FSDPStrategy(SingleDeviceStrategy):
    """Bears the name of the one that needs several processes."""


class PartOfATensor(torch.Tensor):
    """As gradients of parallel modules are."""


def parts(self: Any) -> None:
    for parameter in self.parameters():
        parameter.grad = parameter.grad.as_subclass(PartOfATensor)


def fused(self: Any) -> Any:
    return torch.optim.Adam(self.parameters(), 0.01, fused=True)


@pytest.mark.parametrize(
    ("trainer", "module", "word"),
    [
        ({"strategy": FSDPStrategy("cpu")}, {}, "FSDPStrategy"),
        ({}, {"on_after_backward": parts}, "PartOfATensor"),
        (
            {"plugins": [MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu"))]},
            {"configure_optimizers": fused},
            "mixed precision",
        ),
    ],
    ids=["sharded", "parallel", "scaled"],
)
def test_what_cannot_be_known_here_is_not_recorded_and_said_once(recorded, caplog, trainer, module, word):
    quiet_trainer(pl, max_epochs=1, **trainer).fit(regression(pl, **module), loader())
    assert recorded.read() == []
    assert recorded.guard.counts == {SAID: 1}
    assert word in caplog.text


@pytest.mark.parametrize(
    ("types", "slope", "norm"),
    [((torch.float64, torch.float16), 1e100, 2e100), ((torch.float16, torch.float16), 3e4, 6e4 * 2**0.5)],
    ids=["one of 64 bits", "16 bits"],
)
def test_gradients_of_other_widths(recorded, types, slope, norm):
    """The second norm is beyond the largest number of 16 bits, and each one's is not."""

    def init(self):
        pl.LightningModule.__init__(self)
        self.layer = torch.nn.ParameterList(torch.nn.Parameter(torch.zeros(4, dtype=one)) for one in types)

    def training_step(self, batch, batch_idx):
        first, second = self.layer
        return slope * first.sum() + min(slope, 3e4) * second.sum()

    module = regression(pl, __init__=init, training_step=training_step)
    quiet_trainer(pl, max_steps=1).fit(module, loader())
    [(_, _, found, _)] = recorded.read()
    assert found == pytest.approx(norm, rel=1e-3)


def trained(package: str) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    pl = namespace(package)
    pl.seed_everything(3, verbose=False)
    module = regression(pl)
    module.layer = torch.nn.Sequential(torch.nn.Dropout(0.2), torch.nn.Linear(4, 1))
    quiet_trainer(pl, max_epochs=2, gradient_clip_val=0.5).fit(module, loader(shuffle=True))
    return module.state_dict(), torch.get_rng_state()


@IN_PROCESS
@pytest.mark.parametrize("package", NAMESPACES)
def test_a_run_has_them_and_the_training_is_the_same(database, monkeypatch, package):
    before, state_before = trained(package)
    monkeypatch.setenv("TRACELET_TRACK_GRADIENTS", "4")
    with tracelet.start_logging() as run:
        after, state_after = trained(package)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(state_before, state_after)
    points = [(step, value) for name, step, value, _ in stored_run(database).points if name == semconv.GRAD_NORM]
    assert sorted(step for step, _ in points) == [3, 7, 11, 15]
    assert all(value > 0 for _, value in points)
    assert run.errors == {}


@IN_PROCESS
@pytest.mark.parametrize("off", [None, 0])
def test_nothing_is_measured_where_nobody_asks(database, off):
    with tracelet.start_logging(config={"track_gradients": off}):
        trained("lightning.pytorch")
    assert semconv.GRAD_NORM not in {name for name, *_ in stored_run(database).points}


def test_a_negative_number_is_refused():
    with pytest.raises(tracelet.ConfigurationError, match="track_gradients"):
        tracelet.start_logging(config={"track_gradients": -1})
