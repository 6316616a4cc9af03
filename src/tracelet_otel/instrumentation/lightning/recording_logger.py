"""What a Lightning logger of ours does with what it is handed.

It is a Lightning `Logger` of whichever package is in use, which is imported when a logger is made and not before. Its
functions are not wrapped as those of other loggers are: it reports calls itself, also before a trainer has used it.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from wrapt import register_post_import_hook

from tracelet_otel._support.private_names import LIGHTNING
from tracelet_otel.errors import MissingDependencyError

if TYPE_CHECKING:
    from types import ModuleType

    from tracelet_otel.instrumentation.lightning.hooks import Hooks

    _Logger = Any
    """Type checkers take an instance for a logger of either package."""
else:
    _Logger = object

_Kind = TypeVar("_Kind", bound="RecordingLogger")


class RecordingLogger(_Logger):
    """What the loggers of both packages have in common. An instance is also a `Logger` of each package in use."""

    def __new__(cls: type[_Kind], *_args: Any, **_kwargs: Any) -> _Kind:
        """Make an instance of a class that has the packages' own as bases, too."""
        own: Any = cls
        kind: type[_Kind] = _type_for(own, _bases())
        return object.__new__(kind)

    def __reduce__(self) -> tuple[Any, ...]:
        # The class of an instance has no name of its own. What unpickles it may use the other package.
        return _copied, (type(self).__mro__[1], dict(self.__dict__))

    @property
    @abstractmethod
    def _hooks(self) -> Hooks | None:
        """Where calls are reported; None where nothing is recorded now."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record metrics. What Lightning logs by itself is recorded already, and comes here without effect.

        Args:
            metrics: values by name: numbers, or tensors of one element.
            step: position on the x axis; without one they are recorded at step 0.
        """
        if (hooks := self._hooks) is not None:
            hooks.take_handed(self, metrics, step)

    def log_hyperparams(
        self, params: Mapping[str, Any] | Namespace, metrics: Any = None, step: int | None = None
    ) -> None:
        """Record hyperparameters, and metrics that belong to them.

        Args:
            params: values by name. The names of nested mappings are joined with `/`.
            metrics: values by name, or one number, which is called `hp_metric` as in TensorBoard.
            step: position of the metrics on the x axis; without one they are recorded at step 0.
        """
        if (hooks := self._hooks) is not None:
            hooks.take_handed(self, metrics, step, params)

    def log_image(self, key: str, images: list[Any], step: int | None = None, **others: Any) -> None:
        """Record images, as `WandbLogger` takes them: each of several is `<key>/<index>`.

        Args:
            key: name of the image, or of all of them.
            images: paths of files, images of Pillow, arrays or tensors, or figures.
            step: the step that they are of; without one the trainer's.
            others: captions and the like, which are left out.
        """
        self._take("log_image", {"key": key, "images": images, "step": step})

    def log_table(
        self,
        key: str,
        columns: list[str] | None = None,
        data: list[list[Any]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Record a table, as `WandbLogger` takes it.

        Args:
            key: name of the table.
            columns: names of the columns, for rows.
            data: the rows.
            dataframe: a data frame, in place of rows.
            step: the step that it is of; without one the trainer's.
        """
        given = {"key": key, "columns": columns, "data": data, "dataframe": dataframe, "step": step}
        self._take("log_table", given)

    log_text = log_table

    def log_audio(self, key: str, audios: list[Any], step: int | None = None, **others: Any) -> None:
        """Record sounds, as `WandbLogger` takes them: each of several is `<key>/<index>`.

        Args:
            key: name of the sound, or of all of them.
            audios: paths of files, or arrays.
            step: the step that they are of; without one the trainer's.
            others: for arrays `sample_rate`, a list of samples in a second; captions and the like are left out.
        """
        self._take("log_audio", {"key": key, "audios": audios, "step": step, "sample_rate": others.get("sample_rate")})

    def _take(self, method: str, given: Mapping[str, Any]) -> None:
        if (hooks := self._hooks) is not None:
            hooks.media.take_handed(self, method, given)


def _bases() -> tuple[type, ...]:
    """Class `Logger` of each package that is loaded, or else of one that is installed.

    Raises:
        MissingDependencyError: none is installed.
    """
    names = [f"{package}.loggers" for package in LIGHTNING.packages]
    loaded = [name for name in names if name in sys.modules]
    installed = [name for name in names if find_spec(name.partition(".")[0]) is not None]
    if not loaded and not installed:
        raise MissingDependencyError("a Lightning logger needs Lightning: pip install lightning")
    return tuple(import_module(name).Logger for name in loaded or installed[:1])


@cache
def _type_for(cls: type, bases: tuple[type, ...]) -> Any:
    return type(cls.__name__, (cls, *bases), {"__module__": cls.__module__, "__doc__": cls.__doc__})


def _copied(cls: type[RecordingLogger], state: dict[str, Any]) -> RecordingLogger:
    logger = cls.__new__(cls)
    logger.__dict__.update(state)
    return logger


def _be_known(module: ModuleType) -> None:
    # For who asks of the class, as Lightning's command line does. Instances are loggers anyway.
    with suppress(AttributeError):
        module.Logger.register(RecordingLogger)


for _package in LIGHTNING.packages:
    register_post_import_hook(_be_known, f"{_package}.loggers")
