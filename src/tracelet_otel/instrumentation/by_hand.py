"""What users record of their run by calls of their own, beside what Lightning logs."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.recorder import Row
from tracelet_otel.instrumentation.scalars import snapshot
from tracelet_otel.instrumentation.signals import Signals


class RecordsByHand(ABC):
    """The methods of `Run` that record what its user hands over.

    They never raise: an error is logged and counted in `Run.errors`. Values, hyperparameters and tags are only noted,
    and the call returns at once. Of a file, the call makes a copy, so that it may be changed or removed afterwards.
    Nothing waits for a tracker.
    """

    _guard: Guard
    _signals: Signals
    _heir: RecordsByHand | None = None

    def log_metric(self, name: str, value: Any, step: int | None = None) -> None:
        """Record one value of your own.

        Args:
            name: the metric's name; any text.
            value: a number, or a tensor of one element.
            step: position on the x axis, an integer. By default that of the trainer, as of what Lightning logs: 0
                before anything was trained.

        Example:
            >>> run.log_metric("score", 0.93, step=120)
        """

        def record(signals: Signals) -> None:
            axis = semconv.AXIS_TRAINER if step is None else semconv.AXIS_USER
            at = signals.progress.step if step is None else snapshot(step)
            row = Row(time.time_ns(), {name: snapshot(value)}, at, axis, "")
            membership = signals.membership
            if (membership.world_size or 1) > 1:
                row = row._replace(training=membership.training, world_size=membership.world_size)
            signals.recorder.record(row)

        self._take(f"metric {name!r}", "a value was dropped", record)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record hyperparameters.

        Args:
            params: values by name. The names of nested mappings are joined with `/`, as in `model/width`.

        Example:
            >>> run.log_params({"lr": 0.1, "model": {"width": 64}})
        """
        self._take("hyperparameters", "hyperparameters were dropped", lambda signals: signals.hparams.update(params))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, as often as you like.

        A tag that is set again gets the new value, and the others stay. In trackers whose tags are plain words, a tag
        is `name:value`, or only its name where the value is empty.

        Args:
            tags: values by name. Names that begin with `tracelet.` are not for users.

        Example:
            >>> run.set_tags({"team": "vision", "baseline": ""})
        """
        self._take("tags", "tags were dropped", lambda signals: signals.tags.update(tags))

    def set_note(self, text: str) -> None:
        """Describe the run; another call replaces the text.

        Args:
            text: at most 8,000 characters, of any number of lines.

        Example:
            >>> run.set_note("Learning rate of the paper, batch size of ours.")
        """
        self._take("the note", "the note was dropped", lambda signals: signals.tags.describe(text))

    def log_artifact(self, path: str | Path, name: str | None = None) -> None:
        """Record a file or a directory. Every tracker of the run gets it.

        A file of more than 64 MiB is not copied but linked, where the file system allows that: do not change it in
        place before the trackers have it.

        Args:
            path: the file or directory, of any size.
            name: its name in the run, with `/` between directories; by default its own name.

        Example:
            >>> run.log_artifact("predictions.csv", "test/predictions.csv")
        """
        self._take(f"file {path!s}", "a file was not recorded", lambda signals: signals.files.add_file(path, name))

    def log_image(self, name: str, image: Any, step: int | None = None) -> None:
        """Record an image. Every tracker shows it as one.

        Args:
            name: name of the image; any text.
            image: path of a file, an image of Pillow, or an array or tensor of shape (height, width), (height, width,
                channels) or (channels, height, width), with 1, 3 or 4 channels. Whole numbers are from 0 to 255, others
                from 0 to 1. At most 64 MiB as a file.
            step: the step that it is of. Without one it is a file of the run.

        Example:
            >>> run.log_image("val/sample", batch["image"][0], step=120)
        """
        self._take(
            f"image {name!r}", "a file was not recorded", lambda signals: signals.files.add_image(name, image, step)
        )

    def log_figure(self, name: str, figure: Any, step: int | None = None) -> None:
        """Record a figure of matplotlib, as a picture, or one of plotly, which stays interactive.

        Args:
            name: name of the figure; any text.
            figure: the figure. It may be closed afterwards.
            step: the step that it is of. Without one it is a file of the run.

        Example:
            >>> run.log_figure("val/confusion", figure, step=120)
        """
        self._take(
            f"figure {name!r}", "a file was not recorded", lambda signals: signals.files.add_figure(name, figure, step)
        )

    def log_table(self, name: str, data: Any, columns: Sequence[str] | None = None, step: int | None = None) -> None:
        """Record a table.

        Args:
            name: name of the table; any text.
            data: rows, columns by name, or a data frame of pandas.
            columns: names of the columns, for rows.
            step: the step that it is of. Without one it is a file of the run.

        Example:
            >>> run.log_table("val/worst", [["a.png", 0.1], ["b.png", 0.2]], columns=["file", "score"], step=120)
        """
        self._take(
            f"table {name!r}",
            "a file was not recorded",
            lambda signals: signals.files.add_table(name, columns, data, step),
        )

    def log_text(self, name: str, text: str, step: int | None = None) -> None:
        """Record a text.

        Args:
            name: name of the text; any text.
            text: at most 64 MiB.
            step: the step that it is of. Without one it is a file of the run.

        Example:
            >>> run.log_text("val/sample", tokenizer.decode(tokens), step=120)
        """
        self._take(
            f"text {name!r}", "a file was not recorded", lambda signals: signals.files.add_text(name, text, step)
        )

    def log_audio(self, name: str, audio: Any, sample_rate: int | None = None, step: int | None = None) -> None:
        """Record a sound.

        Args:
            name: name of the sound; any text.
            audio: path of a file, or an array or tensor of shape (samples,) or (samples, channels), from -1 to 1.
            sample_rate: samples in a second, for an array.
            step: the step that it is of. Without one it is a file of the run.

        Example:
            >>> run.log_audio("val/sample", waveform, sample_rate=16_000, step=120)
        """
        self._take(
            f"sound {name!r}",
            "a file was not recorded",
            lambda signals: signals.files.add_audio(name, audio, sample_rate, step),
        )

    def hand_on(self, heir: RecordsByHand) -> None:
        """Pass all of these calls to another run from now on.

        Args:
            heir: the run of a forked rank, which has inherited this object from its parent.
        """
        self._heir = heir

    def _take(self, what: str, problem: str, call: Callable[[Signals], object]) -> None:
        """Record something, or report why that was not possible.

        Args:
            what: what is recorded, in words for people.
            problem: what is said where `call` raises.
            call: records it.
        """
        if self._heir is not None:
            self._heir._take(what, problem, call)
        elif self._is_live(what):
            try:
                call(self._signals)
            except Exception as error:
                self._guard.report(problem, error)

    @abstractmethod
    def _is_live(self, what: str) -> bool:
        """Whether the run takes values; where it has ended, report what came too late."""


class ByHand(RecordsByHand):
    """Records what a user hands over where the user has no object of the run.

    Args:
        signals: where it goes; None: nowhere, since nothing is recorded.
    """

    def __init__(self, signals: Signals | None) -> None:
        self._is_recorded = signals is not None and not signals.membership.repeats
        if signals is not None:
            self._signals, self._guard = signals, signals.guard

    def _is_live(self, what: str) -> bool:
        return self._is_recorded
