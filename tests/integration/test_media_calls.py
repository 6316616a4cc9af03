"""Pictures, tables, texts, sounds and files that other loggers are handed: ours are what theirs are."""

from __future__ import annotations

import copy
import io
import json
import pickle
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import IMAGES, TENSORS, EventAccumulator

import tracelet_otel as tracelet
from tests.integration.conftest import IN_PROCESS
from tests.support.spooled import Spooled, SpooledRun, files_in
from tests.support.trainings import NAMESPACES, Training, namespace, regression
from tests.support.wandb_files import history
from tracelet_otel.instrumentation.lightning.media_arguments import METHODS

mpl.use("Agg")
pytestmark = IN_PROCESS
pl = namespace("lightning.pytorch")
COLOURS = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)
"""An image of 6 rows and 5 columns."""
SOUND = np.sin(np.arange(400) / 5).astype(np.float32)
ONE_EPOCH = {"max_epochs": 1}
LAST_STEP = 8
"""Of the training, as its end calls loggers."""


@pytest.fixture
def spooled(tmp_path: Path) -> Iterator[SpooledRun]:
    made = SpooledRun(tmp_path / "spooled")
    yield made
    made.close()


def train(loggers: Any, calls: Callable[..., Any], package: str = "lightning.pytorch", **options: Any) -> None:
    """Train, and make calls of loggers at the end."""
    Training({**ONE_EPOCH, **options}, module=lambda pl: regression(pl, on_train_end=calls))(
        namespace(package), loggers
    )


def pixels(file: Any) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def samples(file: Any) -> tuple[int, np.ndarray]:
    with wave.open(file) as sound:
        return sound.getframerate(), np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(int)


def named(files: list[Spooled]) -> list[tuple[str, str, int | None]]:
    return [(one.kind, one.name, one.step) for one in files]


def figure(height: float = 1.0) -> Any:
    drawn = mpl.figure.Figure(figsize=(2, 2))
    drawn.subplots().plot([0, height])
    return drawn


class TestTensorBoard:
    def images(self, logger: Any) -> dict[tuple[str, int], bytes]:
        events = EventAccumulator(logger.log_dir, {IMAGES: 0, TENSORS: 0}).Reload()
        return {
            (name, one.step): one.encoded_image_string
            for name in events.Tags()["images"]
            for one in events.Images(name)
        }

    @pytest.mark.parametrize("package", NAMESPACES)
    def test_images_are_those_that_it_stores(self, spooled, package):
        def calls(self):
            writer = self.logger.experiment
            writer.add_image("whole", COLOURS, 3, dataformats="HWC")
            writer.add_image("tensor", torch.tensor(COLOURS).permute(2, 0, 1), global_step=4)
            writer.add_image("gray", torch.rand(1, 6, 5) * 1.5 - 0.2, 5)
            writer.add_image(tag="flat", img_tensor=np.asarray(COLOURS[:, :, 0] / 255), dataformats="HW")

        logger = namespace(package).loggers.TensorBoardLogger("tensorboard")
        train(logger, calls, package)
        theirs = self.images(logger)
        ours = {(one.name, one.step): one.content for one in spooled.files}
        # Without a step it stores 0, and we the step of the training.
        assert list(ours) == [("whole", 3), ("tensor", 4), ("gray", 5), ("flat", LAST_STEP)]
        for (name, step), content in ours.items():
            stored = pixels(io.BytesIO(theirs[name, 0 if name == "flat" else step])).astype(int)
            # It rounds down what is no whole number, and we to the nearest.
            rounded = 1 if name in ("gray", "flat") else 0
            assert abs(pixels(content) - stored).max() <= rounded, name
        assert spooled.guard.counts == {}

    def test_figures_texts_and_sounds(self, spooled):
        def calls(self):
            writer = self.logger.experiment
            writer.add_figure("figure", figure(), 3)
            writer.add_figure("figures", [figure(), figure(2)], 3)
            writer.add_text("text", "what it said", 3)
            writer.add_audio("sound", torch.tensor(SOUND)[None], 3, sample_rate=8000)

        logger = pl.loggers.TensorBoardLogger("tensorboard")
        train(logger, calls)
        ours = {one.name: one for one in spooled.files}
        assert named(spooled.files) == [
            ("figure", "figure", 3),
            ("figure", "figures/0", 3),
            ("figure", "figures/1", 3),
            ("text", "text", 3),
            ("audio", "sound", 3),
        ]
        assert pixels(ours["figure"].content).std() > 0
        assert ours["text"].content.read_text() == "what it said"
        events = EventAccumulator(logger.log_dir, {"audio": 0}).Reload()
        (theirs,) = events.Audio("sound")
        rate, stored = samples(io.BytesIO(theirs.encoded_audio_string))
        our_rate, recorded = samples(str(ours["sound"].content))
        assert (our_rate, len(recorded)) == (rate, len(stored)) == (8000, 400)
        assert abs(recorded - stored).max() <= 1
        assert spooled.guard.counts == {}

    def test_calls_at_the_beginning_of_a_training_are_recorded(self, spooled):
        def setup(self, stage):
            self.logger.experiment.add_text("setup", "a", 0)

        module = lambda pl: regression(pl, setup=setup)  # noqa: E731
        Training(ONE_EPOCH, module=module)(pl, pl.loggers.TensorBoardLogger("tensorboard"))
        assert named(spooled.files) == [("text", "setup", 0)]

    def test_another_writer_of_the_same_kind_is_not_recorded(self, spooled, tmp_path):
        from torch.utils.tensorboard import SummaryWriter

        def calls(self):
            with SummaryWriter(str(tmp_path / "another")) as another:
                another.add_text("text", "of another", 3)

        train(pl.loggers.TensorBoardLogger("tensorboard"), calls)
        assert spooled.files == []


class TestMlflow:
    def logger(self, database: Path, **options: Any) -> Any:
        return pl.loggers.MLFlowLogger("theirs", tracking_uri=f"sqlite:///{database}", **options)

    def test_files_are_those_that_it_stores(self, database, spooled, tmp_path):
        Path("notes.txt").write_text("of a file")
        Path("folder").mkdir()
        Path("folder", "a.txt").write_text("in a folder")

        def calls(self):
            client, run_id = self.logger.experiment, self.logger.run_id
            client.log_image(run_id, COLOURS, key="val/keyed", step=3)
            client.log_image(run_id, Image.fromarray(COLOURS), "val/picture.png")
            client.log_figure(run_id, figure(), "val/figure.png")
            client.log_table(run_id, {"file": ["a", "b"], "score": [0.5, 1.5]}, artifact_file="val/table.json")
            client.log_table(run_id, {"file": "c", "score": 2.5}, "val/row.json")
            client.log_text(run_id, text="what it said", artifact_file="val/text.md")
            client.log_artifact(run_id, "notes.txt")
            client.log_artifact(run_id, "notes.txt", "deep/er")
            client.log_artifact(run_id, "folder", artifact_path="deep")
            client.log_dict(run_id, {"a": 1}, "val/dict.json")

        logger = self.logger(database)
        train(logger, calls)
        ours = {one.name: one for one in spooled.files}
        assert named(spooled.files) == [
            ("image", "val/keyed", 3),
            ("image", "val/picture", LAST_STEP),
            ("figure", "val/figure", LAST_STEP),
            ("table", "val/table", LAST_STEP),
            ("table", "val/row", LAST_STEP),
            ("text", "val/text.md", LAST_STEP),
            ("file", "notes.txt", None),
            ("file", "deep/er/notes.txt", None),
            ("file", "deep/folder", None),
            ("file", "val/dict.json", None),
        ]
        theirs = Path(logger.experiment.download_artifacts(logger.run_id, "", str(tmp_path)))
        (keyed,) = theirs.glob("images/val~keyed*.png")
        assert np.array_equal(pixels(ours["val/keyed"].content), pixels(keyed))
        assert np.array_equal(pixels(ours["val/picture"].content), pixels(theirs / "val/picture.png"))
        for name in ("val/table", "val/row"):
            assert json.loads(ours[name].content.read_text()) == json.loads((theirs / f"{name}.json").read_text())
        for name, path in {
            "val/text.md": "val/text.md",
            "notes.txt": "notes.txt",
            "val/dict.json": "val/dict.json",
        }.items():
            assert ours[name].content.read_bytes() == (theirs / path).read_bytes()
        assert (ours["deep/folder"].content / "a.txt").read_text() == (theirs / "deep/folder/a.txt").read_text()
        assert spooled.guard.counts == {}

    def test_what_it_uploads_of_checkpoints_is_no_file_of_the_user(self, database, spooled):
        logger = self.logger(database, log_model="all")
        checkpoints = pl.callbacks.ModelCheckpoint("checkpoints")
        train(logger, lambda self: None, callbacks=[checkpoints], enable_checkpointing=True)
        assert logger.experiment.list_artifacts(logger.run_id)
        assert spooled.files == []

    def test_what_another_run_is_handed_is_not_recorded(self, database, spooled):
        def calls(self):
            client = self.logger.experiment
            other = client.create_run(self.logger.experiment_id).info.run_id
            client.log_text(other, "of another run", "text.txt")
            type(client)(self.logger._tracking_uri).log_text(self.logger.run_id, "by another client", "text.txt")

        train(self.logger(database), calls)
        assert spooled.files == []

    def test_a_logger_is_copied_and_pickled_as_ever(self, database, spooled):
        logger = self.logger(database)
        train(logger, lambda self: None)
        client = logger.experiment
        assert not set(vars(client)) & set(METHODS)
        copy.copy(logger)
        assert pickle.loads(pickle.dumps(type(client))) is type(client)

    def test_a_run_in_a_tracker_has_it(self, database):
        """Also where ours is delivered by a client of the same kind, in this process."""

        def calls(self):
            client, run_id = self.logger.experiment, self.logger.run_id
            client.log_image(run_id, COLOURS, key="sample", step=3)
            client.log_text(run_id, "what it said", "text.txt")

        logger = self.logger(database)
        with tracelet.start_logging("ours", "ours", config={"capture_media": True}) as run:
            train(logger, calls)
        client = logger.experiment
        (found,) = client.search_runs([client.get_experiment_by_name("ours").experiment_id])
        theirs, ours = (Path(client.download_artifacts(one, "")) for one in (logger.run_id, found.info.run_id))
        (their_image,), (our_image,) = theirs.glob("images/*.png"), ours.glob("images/*.png")
        assert np.array_equal(pixels(our_image), pixels(their_image))
        assert our_image.name.startswith("sample+step+3+")
        assert (ours / f"text/{LAST_STEP:08d}.txt").read_bytes() == (theirs / "text.txt").read_bytes()
        assert run.errors == {}


def takes_images(**more: Callable[..., Any]) -> Any:
    """A logger of a user's own that keeps what it gets."""

    def log_image(self, key, images, step=None, **kwargs):
        self.got.append((key, images, step, kwargs))
        return "taken"

    base = pl.loggers.CSVLogger
    made = type("Takes", (base,), {"log_image": log_image, **more})("csv")
    made.got = []
    return made


class TestSeveral:
    def test_what_each_logger_gets_is_recorded_once(self, spooled):
        def calls(self):
            first, second, third = self.loggers
            for number in range(3):
                first.log_image("same", [COLOURS + number], step=3)
            for number in range(2):
                second.log_image("same", [COLOURS + number], step=3)
            third.experiment.add_image("same", COLOURS, 3, dataformats="HWC")
            third.experiment.add_image("other", COLOURS, 3, dataformats="HWC")

        train([takes_images(), takes_images(), pl.loggers.TensorBoardLogger("tensorboard")], calls)
        assert named(spooled.files) == [("image", "same", 3)] * 3 + [("image", "other", 3)]
        assert [pixels(one.content)[0, 0, 0] for one in spooled.files] == [0, 1, 2, 0]

    def test_several_images_have_their_index_in_their_names(self, spooled):
        def calls(self):
            assert self.logger.log_image("val", [COLOURS, COLOURS + 1], caption=["a", "b"]) == "taken"

        logger = takes_images()
        train(logger, calls)
        assert named(spooled.files) == [("image", "val/0", LAST_STEP), ("image", "val/1", LAST_STEP)]
        assert len(logger.got) == 1
        assert spooled.guard.counts == {}


class TestOurs:
    """A `TraceletLogger` takes what a `WandbLogger` takes, without being asked for that of others."""

    @pytest.mark.parametrize("package", NAMESPACES)
    def test_what_it_is_handed_is_recorded(self, tmp_path, package):
        run = SpooledRun(tmp_path / "spooled", captures_media=False)

        def calls(self):
            self.logger.log_image(key="val", images=[COLOURS, Image.fromarray(COLOURS)], caption=["a", "b"])
            self.logger.log_image("figure", [figure()], 3)
            self.logger.log_table("table", ["file", "score"], [["a", 0.5]], step=3)
            self.logger.log_text("text", columns=["said"], data=[["one"]], step=3)
            self.logger.log_audio("sound", [SOUND], step=3, sample_rate=[8000])

        logger = tracelet.TraceletLogger()
        logger.log_image("before", [COLOURS])
        train(logger, calls, package)
        run.close()
        assert named(run.files) == [
            ("image", "before", None),
            ("image", "val/0", LAST_STEP),
            ("image", "val/1", LAST_STEP),
            ("figure", "figure", 3),
            ("table", "table", 3),
            ("table", "text", 3),
            ("audio", "sound", 3),
        ]
        assert np.array_equal(pixels(run.files[0].content), COLOURS)
        assert json.loads(run.files[4].content.read_text()) == {"columns": ["file", "score"], "data": [["a", 0.5]]}
        assert samples(str(run.files[6].content))[0] == 8000
        assert run.guard.counts == {}

    @pytest.mark.parametrize("captures", [True, False])
    def test_beside_another_logger_it_is_there_once(self, tmp_path, captures):
        run = SpooledRun(tmp_path / "spooled", captures_media=captures)

        def calls(self):
            for one in self.loggers:
                one.log_image("val", [COLOURS], 3)

        other = takes_images()
        train([other, tracelet.TraceletLogger()], calls)
        run.close()
        assert named(run.files) == [("image", "val", 3)]
        assert len(other.got) == 1

    def test_what_cannot_be_recorded_is_said_and_not_raised(self, spooled):
        tracelet.TraceletLogger().log_image("val", [object()])
        assert spooled.files == []
        assert spooled.guard.counts == {"what TraceletLogger.log_image was handed is not recorded": 1}


class TestProblems:
    def test_what_a_logger_refuses_is_raised_and_not_recorded(self, spooled):
        def refuse(self, key, images, step=None):
            raise ConnectionError("it is down")

        def calls(self):
            with pytest.raises(ConnectionError, match="it is down"):
                self.logger.log_image("val", [COLOURS])
            with pytest.raises(TypeError):
                self.logger.log_image()

        train(takes_images(log_image=refuse), calls)
        assert spooled.files == []
        assert spooled.guard.counts == {}

    def test_what_cannot_be_read_is_said_and_not_raised(self, spooled):
        def log_figure(self, what, drawing):
            return 7

        def calls(self):
            assert self.logger.log_figure("a", figure()) == 7
            assert self.logger.log_figure("a", figure()) == 7
            self.logger.log_image("val", ["not there.png"])

        train(takes_images(log_figure=log_figure), calls)
        assert spooled.files == []
        assert spooled.guard.counts == {
            "what Takes.log_figure was handed is not recorded": 2,
            "what Takes.log_image was handed is not recorded": 1,
        }

    def test_nothing_is_recorded_in_a_trial_run(self, spooled):
        train(takes_images(), lambda self: self.logger.log_image("val", [COLOURS]), fast_dev_run=True)
        assert spooled.files == []


def methods_of(*classes: Any) -> dict[Any, Any]:
    return {(one, name): vars(one)[name] for one in classes for name in METHODS if name in vars(one)}


def test_all_is_put_back_and_nothing_is_wrapped_where_it_is_not_asked_for(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    logger = takes_images()
    classes = type(logger), SummaryWriter
    before = methods_of(*classes)
    seen = []
    calls = lambda self: seen.append(methods_of(*classes))  # noqa: E731
    for captures in (False, True):
        run = SpooledRun(tmp_path / str(captures), captures_media=captures)
        train([logger, pl.loggers.TensorBoardLogger("tensorboard")], calls)
        run.close()
        assert methods_of(*classes) == before
    assert seen[0] == before
    assert seen[1].keys() == before.keys()
    assert not set(seen[1].values()) & set(before.values())


def test_rank_zero_alone_records(spooled, monkeypatch):
    class Second(pl.loggers.CSVLogger):
        def log_image(self, key, images, step=None):
            """As on every rank, where a logger has no guard of its own."""

    def calls(self):
        with monkeypatch.context() as change:
            change.setattr(type(self.trainer), "is_global_zero", property(lambda trainer: False))
            self.logger.log_image("val", [COLOURS])

    train(Second("csv"), calls)
    assert spooled.files == []


def test_wandb(run, tmp_path):
    child = run("wandb_media.py")
    assert child.returncode == 0, child.stderr
    ours = {one.name: one for one in files_in(tmp_path / "spooled/r1.files")}
    assert json.loads(child.stdout.splitlines()[-1]) == {}
    assert [(one.kind, one.name, one.step) for one in ours.values()] == [
        ("image", "array", 3),
        ("image", "several/0", LAST_STEP),
        ("image", "several/1", LAST_STEP),
        ("image", "several/2", LAST_STEP),
        ("figure", "figure", 3),
        ("table", "table", 3),
        ("table", "text", 3),
        ("audio", "sound", 3),
        ("file", "notes.txt", None),
    ]
    theirs = {name: value for row in history(tmp_path) for name, value in row.items()}
    (media,) = tmp_path.glob("wandb/offline-run-*/files")
    several = [f"several/{place}" for place in range(3)]
    for names, stored in ((["array"], "array"), (several, "several")):
        for name, path in zip(names, theirs[f"{stored}.filenames"], strict=True):
            assert np.array_equal(pixels(ours[name].content), pixels(media / path))
    assert len(theirs["figure.filenames"]) == 1
    for name in ("table", "text"):
        stored = json.loads((media / theirs[f"{name}.path"]).read_text())
        recorded = json.loads(ours[name].content.read_text())
        assert (recorded["columns"], recorded["data"]) == (stored["columns"], stored["data"])
    assert ours["sound"].content.read_bytes() == Path(tmp_path, "sound.wav").read_bytes()
