"""What is captured of Lightning, what is not, and what strange input does."""

from __future__ import annotations

import copy
import functools
import math
import pickle
from collections import Counter

import pytest
import torch
from lightning.pytorch.tuner import Tuner

import tracelet_otel as tracelet
from tests.integration.conftest import IN_PROCESS
from tests.support.mlflow_store import multiset, stored_run, stored_runs
from tests.support.trainings import NAMESPACES, Training, loader, logging_hooks, namespace, regression
from tracelet_otel.instrumentation.lightning import LightningInstrumentor

pl = namespace("lightning.pytorch")
pytestmark = IN_PROCESS


def train_one_batch(**logged):
    """A training of one batch that logs some values."""

    def training_step(self, batch, batch_idx):
        self.log_dict(logged)
        return self.layer(batch[0]).sum()

    Training(
        {"max_epochs": 1, "limit_train_batches": 1},
        module=lambda pl: regression(pl, training_step=training_step),
        run=lambda trainer, module: trainer.fit(module, loader()),
    )(pl, False)


def test_the_tuner_is_silent(database):
    class Tunable(pl.LightningModule):
        def __init__(self, lr=0.1):
            super().__init__()
            self.save_hyperparameters()
            self.lr, self.batch_size = lr, 4
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch, batch_idx):
            loss = self.layer(batch[0]).pow(2).mean()
            self.log("loss", loss)
            return loss

        def train_dataloader(self):
            return loader(64, self.batch_size)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), self.lr)

    run = tracelet.start_logging(config={"export_interval": 0.01})
    options = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 1}
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, log_every_n_steps=1, **options)
    module = Tunable()
    tuner = Tuner(trainer)
    tuner.lr_find(module, num_training=5)
    tuner.scale_batch_size(module, max_trials=2, init_val=4)
    run._signals.recorder.drain()
    assert run._signals.recorder._sequence == 0, "the tuner's trials were recorded"
    module.hparams["lr"] = module.lr
    trainer.fit(module)
    tracelet.stop_logging()
    stored = stored_run(database)
    assert len([name for name, *_ in stored.points if name == "loss"]) == 64 // module.batch_size
    assert stored.status == "FINISHED"
    assert float(stored.params["lightning/optimizer_0/lr"]) == module.lr
    assert run.errors == {}


@pytest.mark.parametrize("trainer", [{"barebones": True, "log_every_n_steps": None, "enable_checkpointing": None}])
def test_barebones_is_silent(database, trainer, recwarn):
    tracelet.start_logging()
    Training(
        {**trainer, "enable_progress_bar": None, "enable_model_summary": None, "callbacks": None},
        run=lambda trainer, module: trainer.fit(module, loader()),
    )(pl, None)
    tracelet.stop_logging()
    assert stored_run(database).points == []


def test_predict_and_the_sanity_check_are_silent(database):
    tracelet.start_logging()

    def validation_step(self, batch, batch_idx):
        self.log("sane", 1.0, on_step=True)

    def run(trainer, module):
        trainer.predict(module, loader())
        trainer.fit(module, loader(), loader(40, seed=1))

    Training({"max_epochs": 0}, module=lambda pl: regression(pl, validation_step=validation_step), run=run)(pl, False)
    tracelet.stop_logging()
    assert stored_run(database).points == []


@pytest.mark.parametrize("package", NAMESPACES)
def test_hyperparameters_of_module_datamodule_trainer_and_logger(database, package):
    pl = namespace(package)

    class Module(type(regression(pl))):
        def __init__(self, width=4, options=None):
            super().__init__()
            self.save_hyperparameters()

        def on_train_start(self):
            self.logger.log_hyperparams({"by hand": {"nested": [1, 2]}})

    class Data(pl.LightningDataModule):
        def __init__(self, batch_size=8):
            super().__init__()
            self.save_hyperparameters()

        def train_dataloader(self):
            return loader(32, self.hparams.batch_size)

    training = Training(
        {"max_epochs": 1, "accumulate_grad_batches": 2, "gradient_clip_val": 0.5},
        module=lambda _: Module(options={"act": None}),
        run=lambda trainer, module: trainer.fit(module, datamodule=Data()),
    )
    run = tracelet.start_logging()
    training(pl, pl.loggers.CSVLogger("csv"))
    tracelet.stop_logging()
    params = stored_run(database).params
    expected = {
        "width": "4",
        "options/act": "None",
        "batch_size": "8",
        "by hand/nested": "[1, 2]",
        "lightning/trainer/max_epochs": "1",
        "lightning/trainer/precision": "32-true",
        "lightning/trainer/accumulate_grad_batches": "2",
        "lightning/trainer/gradient_clip_val": "0.5",
        "lightning/trainer/num_devices": "1",
        "lightning/trainer/strategy": "SingleDeviceStrategy",
        "lightning/optimizer_0/name": "SGD",
        "lightning/optimizer_0/lr": "0.05",
        "lightning/model/parameters": "5",
        "lightning/model/trainable_parameters": "5",
    }
    assert {name: params.get(name) for name in expected} == expected
    assert run.errors == {}


class TestBadInput:
    @pytest.fixture(autouse=True)
    def run(self, database):
        self.database = database
        self.run = tracelet.start_logging()
        yield
        tracelet.stop_logging()

    def stored(self):
        tracelet.stop_logging()
        return stored_run(self.database)

    def test_names_of_every_kind(self):
        names = ["a b", "größe", "acc@1", "7days", "x" * 300, "Loss", "loss", "a/b", "a@b", "a#b", "損失"]
        train_one_batch(**{name: float(index) for index, name in enumerate(names)})
        stored = self.stored()
        exact = {
            stored.tags.get(f"tracelet.metric.name.{key}", key): value
            for key, _, value, _ in stored.points
            if key != "epoch"
        }
        assert exact == {name: float(index) for index, name in enumerate(names)}

    def test_five_thousand_names(self):
        values = {f"metric {number}": number / 3 for number in range(5_000)}
        for name, value in values.items():
            self.run.log_metric(name, value, 1)
        assert self.stored().multiset == multiset((name, 1, value) for name, value in values.items())

    def test_nonfinite_values(self):
        train_one_batch(nan=math.nan, inf=math.inf, minus=-math.inf)
        stored = self.stored()
        found = {name: value for name, _, value, _ in stored.points if name != "epoch"}
        assert all(math.isnan(value) for value in found.values())
        assert found.keys() == {"nan", "inf", "minus"}
        assert stored.tags["tracelet.nonfinite.inf"] == "+Inf at step 0"
        assert stored.tags["tracelet.nonfinite.minus"] == "-Inf at step 0"

    def test_a_vector_valued_metric_without_a_logger(self, caplog):
        import torchmetrics

        class Vector(torchmetrics.Metric):
            def __init__(self):
                super().__init__()
                self.add_state("total", torch.zeros(3))

            def update(self):
                self.total += 1

            def compute(self):
                return self.total

        def init(self):
            pl.LightningModule.__init__(self)
            self.layer, self.vector = torch.nn.Linear(4, 1), Vector()

        def validation_step(self, batch, batch_idx):
            self.vector.update()
            self.log("vector", self.vector)
            self.log("scalar", 1.0)

        Training(module=lambda pl: regression(pl, __init__=init, validation_step=validation_step))(pl, False)
        names = {name for name, *_ in self.stored().points}
        assert "scalar" in names
        assert "vector" not in names
        assert "a value of metric 'vector' was dropped" in caplog.text
        assert self.run.errors == {"a value of metric 'vector' was dropped": 2}

    def test_hyperparameters_of_every_kind(self):
        class Silent:
            def __str__(self):
                raise RuntimeError("no text")

        params = {
            "none": None,
            "nested": {"deep": {"er": 1}},
            "list": [1, "two"],
            "long": "x" * 20_000,
            "object": torch.nn.ReLU(),
            "silent": Silent(),
            "tensor": torch.tensor(3.0),
        }
        self.run.log_params(params)
        stored = self.stored()
        assert {name: stored.params[name] for name in ("none", "nested/deep/er", "list", "object", "tensor")} == {
            "none": "None",
            "nested/deep/er": "1",
            "list": "[1, 'two']",
            "object": "ReLU()",
            "tensor": "tensor(3.)",
        }
        assert len(stored.params["long"]) == 6_000
        assert stored.params["long"].endswith("\N{HORIZONTAL ELLIPSIS}")
        assert "silent" not in stored.params
        assert self.run.errors == {"hyperparameter 'silent' was dropped": 1}

    @pytest.mark.slow
    def test_five_thousand_hyperparameters(self):
        params = {f"p{number}": number for number in range(5_000)}
        self.run.log_params(params)
        assert self.stored().params == {name: str(value) for name, value in params.items()}

    def test_a_users_logger_that_raises_still_raises(self):
        class Raising(pl.loggers.CSVLogger):
            def log_metrics(self, metrics, step=None):
                raise RuntimeError("the user's own bug")

        with pytest.raises(RuntimeError, match="the user's own bug"):
            Training()(pl, Raising("csv"))
        stored = self.stored()
        assert stored.status == "FAILED"
        assert ("train/step_only", 0) in {(name, step) for name, step, *_ in stored.points}

    def test_a_users_logger_may_take_whatever_it_is_given(self):
        class Any(pl.loggers.CSVLogger):
            def log_metrics(self, *args, **kwargs):
                super().log_metrics(*args, **kwargs)

        Training(callbacks=lambda pl: [pl.callbacks.LearningRateMonitor()])(pl, Any("csv"))
        assert {name for name, *_ in self.stored().points} >= {"lr-SGD", "train/step_only"}

    def test_a_hook_of_ours_that_raises_is_said_once_and_training_goes_on(self, caplog):
        class Broken(pl.Trainer):
            @property
            def fit_loop(self):
                import sys

                # Lightning itself asks from its own modules.
                if sys._getframe(1).f_globals["__name__"] == "tracelet_otel.instrumentation.lightning.rows":
                    raise RuntimeError("not as expected")
                return self._loop

            @fit_loop.setter
            def fit_loop(self, loop):
                self._loop = loop

        trainer = Broken(
            max_epochs=1, logger=False, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False,
            log_every_n_steps=1, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(regression(pl), loader())
        assert trainer.state.finished
        said = [r for r in caplog.records if r.name == "tracelet_otel"]
        assert [r.getMessage().split(":")[0] for r in said] == ["a row of metrics could not be taken from Lightning"]
        assert self.run.errors == {"a row of metrics could not be taken from Lightning": 9}

    def test_metrics_that_the_user_hands_over_are_not_changed(self):
        handed = {"a": torch.tensor(1.0), "step": torch.tensor(3.0)}
        trainer = pl.Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
        trainer._logger_connector.log_metrics(handed)
        assert list(handed) == ["a", "step"]
        assert self.stored().multiset == multiset([("a", 3, 1.0)])


class TestInstrumentor:
    def test_instrument_twice_train_once(self, database):
        tracelet.start_logging()
        LightningInstrumentor().instrument()
        Training()(pl, False)
        tracelet.stop_logging()
        counts = {count for (name, *_), count in stored_run(database).multiset.items() if name != "epoch"}
        assert counts == {1}

    @pytest.mark.parametrize("package", NAMESPACES)
    def test_uninstrument_and_train_again_as_before_we_came(self, database, package):
        pl = namespace(package)
        csv = pl.loggers.CSVLogger
        connector = type(pl.Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)._logger_connector)
        owners = [(connector, "log_metrics"), (csv, "log_metrics"), (csv, "log_hyperparams")]
        owners += [(pl.Trainer, name) for name in ("fit", "validate", "test", "predict")]
        before = [vars(owner).get(name) for owner, name in owners]
        tracelet.start_logging()
        Training()(pl, csv("csv"))
        assert all(vars(owner).get(name) is not was for (owner, name), was in zip(owners, before, strict=True))
        tracelet.stop_logging()
        assert all(vars(owner).get(name) is was for (owner, name), was in zip(owners, before, strict=True))
        count = len(stored_run(database).points)
        Training()(pl, csv("csv"))
        assert len(stored_run(database).points) == count

    @pytest.mark.parametrize("names", ["its own", "those of Lightning's", "those of what it wraps"])
    @pytest.mark.parametrize("logger", [lambda: False, lambda: pl.loggers.CSVLogger("csv")])
    def test_a_row_is_one_where_somebody_wraps_us_and_we_wrap_them(self, database, monkeypatch, names, logger):
        connector = type(pl.Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)._logger_connector)
        lightnings = vars(connector)["log_metrics"]
        monkeypatch.setattr(connector, "log_metrics", lightnings)
        tracelet.start_logging()
        Training()(pl, logger())
        ours = vars(connector)["log_metrics"]
        seen = []

        def log_metrics(connector, metrics, step=None):
            seen.append(dict(metrics))
            return ours(connector, metrics, step)

        if names == "those of Lightning's":
            functools.update_wrapper(log_metrics, lightnings)
            del log_metrics.__wrapped__
        elif names == "those of what it wraps":
            functools.update_wrapper(log_metrics, ours)
        connector.log_metrics = log_metrics
        tracelet.stop_logging()
        tracelet.start_logging()
        Training()(pl, logger())
        tracelet.stop_logging()
        without, beside = stored_runs(database)
        assert ours is not lightnings
        assert without.multiset == beside.multiset != Counter()
        assert seen

    def test_the_carrier_is_there_while_training_only_and_can_be_copied(self, database):
        seen = []

        def on_train_start(self):
            (carrier,) = [one for one in self.trainer.callbacks if type(one).__name__ == "TraceletRankCallback"]
            for copied in (pickle.loads(pickle.dumps(carrier)), copy.deepcopy(carrier)):
                assert isinstance(copied, pl.Callback)
                copied.on_fit_start(self.trainer, self)
            seen.append(carrier)

        def configure_callbacks(self):
            return [pl.callbacks.EarlyStopping("val/loss")]

        tracelet.start_logging()
        trainer = Training(
            module=lambda pl: regression(pl, on_train_start=on_train_start, configure_callbacks=configure_callbacks)
        )(pl, False)
        tracelet.stop_logging()
        assert len(seen) == 1
        assert [type(one).__name__ for one in trainer.callbacks] == ["EarlyStopping"]

    def test_some_hooks_may_log(self):
        assert len(logging_hooks(pl)) > 10
