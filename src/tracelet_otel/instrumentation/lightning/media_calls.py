"""Records pictures, tables, texts and files that loggers of a trainer are handed, where the run asks for it.

The methods are wrapped on the classes of the loggers, and of the objects that these give out as `experiment`: what is
called on an object that no logger of the trainer has given out passes through. An object is left as it is, so that it
can be copied and pickled as ever.
"""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import get_ident
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Protocol

from tracelet_otel._support.private_names import LIGHTNING
from tracelet_otel.instrumentation.lightning.lifecycle import Lifecycle
from tracelet_otel.instrumentation.lightning.media_arguments import METHODS, Handed, arguments_of, handed_in
from tracelet_otel.instrumentation.lightning.recording_logger import RecordingLogger
from tracelet_otel.instrumentation.signals import Signals
from tracelet_otel.protocol.files import FileKind

if TYPE_CHECKING:
    from tracelet_otel.instrumentation.lightning.hooks import Hooks

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes the wrapper of a function."""
_REMEMBERED: Final = 32
"""Calls that are kept to recognize the same call of another logger."""
_LOGGERS: Final = tuple(f"{package}.loggers." for package in LIGHTNING.packages)
"""Beginnings of the names of modules with Lightning's own loggers."""


class KnowsHooks(Protocol):
    """The instrumentor, as far as its wrappers are concerned."""

    @property
    def hooks(self) -> Hooks | None:
        """Where calls are reported; None where nothing is recorded now."""
        ...


@dataclass(frozen=True)
class Call:
    """A method that is wrapped."""

    method: str
    """Its name, which its function may not have."""
    function: Callable[..., Any]


class MediaCalls:
    """Records calls of loggers, and of what they give out, each once however many loggers get the same.

    Args:
        signals: where files go.
        lifecycle: knows trainers, and is told what to do when one is set up.
    """

    def __init__(self, signals: Signals, lifecycle: Lifecycle) -> None:
        self._signals = signals
        self._lifecycle = lifecycle
        self._put: Callable[[Any, str, Wrap], None] | None = None
        self._source: KnowsHooks | None = None
        self._experiments: list[tuple[Any, Any]] = []
        """What loggers have given out, each with its logger."""
        self._calls: deque[tuple[Any, set[int]]] = deque(maxlen=_REMEMBERED)
        """Of the last calls what they were, and ids of the loggers that have had it."""
        if signals.captures_media:
            lifecycle.when_set_up = self.take_up

    def watch(self, trainer: Any, put: Callable[[Any, str, Wrap], None], source: KnowsHooks) -> None:
        """Wrap the methods of a trainer's loggers where the run asks for it; those of what they give out follow later.

        Args:
            trainer: the trainer.
            put: puts a wrapper around a method, given by its class and its name.
            source: where wrappers ask who records.
        """
        self._put, self._source = put, source
        for logger in _others(trainer) if self._signals.captures_media else ():
            self._wrap(logger)

    def take_up(self, trainer: Any) -> None:
        """A trainer is being set up: Lightning has asked each logger for its `experiment` just before. Never raises."""
        for logger in _others(trainer):
            try:
                experiment = getattr(logger, "experiment", None)
                if experiment is not None and not any(one is experiment for one, _ in self._experiments):
                    self._experiments.append((experiment, logger))
                    self._wrap(experiment)
            except Exception as error:
                place = f"what is handed to {type(logger).__name__}.experiment itself will be missing"
                self._signals.guard.report(place, error)

    def logger_of(self, owner: Any) -> Any | None:
        """The logger of a trainer that an object is, or that has given it out; None where there is none."""
        for experiment, logger in self._experiments:
            if experiment is owner:
                return logger
        return owner if self._lifecycle.trainer_of(owner) is not None else None

    def read(self, call: Call, owner: Any, logger: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Handed]:
        """What is handed over by a call that is about to be made; empty where it is not to be recorded. Never raises.

        It is read before, because a logger may move files away and close figures.

        Args:
            call: which method it is.
            owner: the object whose method it is: the logger, or what that has given out.
            logger: the logger.
            args: positional arguments of the call.
            kwargs: keyword arguments of the call.
        """
        try:
            trainer = self._lifecycle.trainer_of(logger)
            if trainer is None or self._lifecycle.is_silent(trainer) or not trainer.is_global_zero:
                return []
            given: dict[str, Any] = {}
            with suppress(TypeError):  # it will be refused
                given = arguments_of(call.function, owner, args, kwargs)
            if not given or given.get("run_id", logger.version) != logger.version:
                return []
            return list(handed_in(call.method, given))
        except Exception as error:
            self._report(call, owner, error)
            return []

    def record(self, call: Call, owner: Any, logger: Any, handed: list[Handed]) -> None:
        """Record what was handed over by a call that has returned. Never raises.

        Args:
            call: which method it was.
            owner: the object whose method it is.
            logger: the logger.
            handed: what `read` has returned.
        """
        try:
            trainer = self._lifecycle.trainer_of(logger)
            for one in handed:
                self._record(trainer, logger, one)
        except Exception as error:
            self._report(call, owner, error)

    def take_handed(self, logger: Any, method: str, given: Mapping[str, Any]) -> None:
        """Record what a logger of ours was handed, also where the run does not ask for that of others. Never raises.

        Args:
            logger: the logger, which a trainer may not have used yet.
            method: name of the method, one of `METHODS`.
            given: arguments of the call by name.
        """
        try:
            trainer = self._lifecycle.trainer_of(logger)
            if not self._lifecycle.is_silent(trainer) and (trainer is None or trainer.is_global_zero):
                for one in handed_in(method, given):
                    self._record(trainer, logger, one)
        except Exception as error:
            place = f"what {type(logger).__name__}.{method} was handed is not recorded"
            self._signals.guard.report(place, error)

    def _report(self, call: Call, owner: Any, error: Exception) -> None:
        place = f"what {type(owner).__name__}.{call.method} was handed is not recorded"
        self._signals.guard.report(place, error)

    def _wrap(self, owner: Any) -> None:
        # A stand-in, as other ranks than the first get one, has every method that it is asked for, on no class.
        for method in METHODS:
            if isinstance(getattr(type(owner), method, None), FunctionType) and self._put and self._source:
                self._put(type(owner), method, recorded(self._source, method))

    def _record(self, trainer: Any | None, logger: Any, handed: Handed) -> None:
        files, name = self._signals.files, handed.name
        if name is None or handed.kind is FileKind.FILE:
            if not self._is_copy(trainer, logger, (FileKind.FILE, name, str(handed.content))):
                files.add_file(handed.content, name)
            return
        step = None if handed.step is None else int(handed.step)
        if step is None and trainer is not None:
            step = trainer.fit_loop.epoch_loop._batches_that_stepped
        # One logger may be handed as a figure what another one gets as its picture.
        shown_as = FileKind.IMAGE if handed.kind is FileKind.FIGURE else handed.kind
        if self._is_copy(trainer, logger, (shown_as, name, step)):
            return
        match handed.kind:
            case FileKind.IMAGE:
                files.add_image(name, handed.content, step)
            case FileKind.FIGURE:
                files.add_figure(name, handed.content, step)
            case FileKind.TABLE:
                files.add_table(name, handed.columns, handed.content, step)
            case FileKind.TEXT:
                files.add_text(name, handed.content, step)
            case _:
                files.add_audio(name, handed.content, handed.sample_rate, step)

    def _is_copy(self, trainer: Any | None, logger: Any, call: Any) -> bool:
        """Whether another logger of the trainer has had the same: the name and the step say so, as forms differ."""
        if trainer is None or len(trainer.loggers) == 1:
            return False
        for known, loggers in self._calls:
            if known == call and id(logger) not in loggers:
                loggers.add(id(logger))
                return True
        self._calls.append((call, {id(logger)}))
        return False


def recorded(source: KnowsHooks, method: str) -> Wrap:
    """What makes the wrapper of a method.

    Args:
        source: knows where calls are reported now.
        method: the method's name.
    """

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        call = Call(method, function)

        @functools.wraps(function)
        def call_and_record(owner: Any, *args: Any, **kwargs: Any) -> Any:
            hooks = source.hooks
            # A logger of Lightning's uploads checkpoints by such calls, which are recorded where they are written.
            if (
                hooks is None
                or get_ident() in hooks.handing_out.threads
                or str(sys._getframe(1).f_globals.get("__name__")).startswith(_LOGGERS)
                or (logger := (media := hooks.media).logger_of(owner)) is None
            ):
                return function(owner, *args, **kwargs)
            handed = media.read(call, owner, logger, args, kwargs)
            with hooks.handing_out:
                result = function(owner, *args, **kwargs)
            media.record(call, owner, logger, handed)
            return result

        return call_and_record

    return wrap


def _others(trainer: Any) -> list[Any]:
    return [one for one in trainer.loggers if not isinstance(one, RecordingLogger)]
