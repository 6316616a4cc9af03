"""What is in a call by which a logger is handed pictures, figures, tables, texts, sounds or files.

Loggers name and order their arguments as they like, and so do the objects that they give out as `experiment`. A call is
read by the names of its parameters. What a tracker has wrapped in a class of its own is unwrapped.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from tracelet_otel.instrumentation.media import is_path
from tracelet_otel.protocol.files import FileKind

METHODS: Final = {
    "log_image": FileKind.IMAGE,
    "log_figure": FileKind.FIGURE,
    "log_table": FileKind.TABLE,
    "log_text": FileKind.TEXT,
    "log_audio": FileKind.AUDIO,
    "log_artifact": FileKind.FILE,
    # Of the writer that a logger for TensorBoard gives out.
    "add_image": FileKind.IMAGE,
    "add_figure": FileKind.FIGURE,
    "add_text": FileKind.TEXT,
    "add_audio": FileKind.AUDIO,
}
"""The methods that are read, and what each is handed."""
_NAMES: Final = ("key", "tag", "artifact_file", "name")
_STEPS: Final = ("step", "global_step")
_CONTENTS: Final = {
    FileKind.IMAGE: ("images", "image", "img_tensor"),
    FileKind.FIGURE: ("figure",),
    FileKind.TABLE: ("dataframe", "data"),
    FileKind.TEXT: ("text", "texts", "text_string", "dataframe", "data"),
    FileKind.AUDIO: ("audios", "audio", "snd_tensor"),
    FileKind.FILE: ("local_path", "artifact_or_path", "path"),
}
"""Names of the parameter that has the content, by what it is. The first one that is given counts."""
_WITH_CHANNELS: Final = "HWC"
"""Order of an image's dimensions, as arrays have them: height, width, channels."""


@dataclass(frozen=True)
class Handed:
    """One thing that a logger was handed."""

    kind: FileKind
    name: str | None
    """None for a file under its own name."""
    content: Any
    step: Any = None
    """The step that was given; None for none."""
    columns: Sequence[str] | None = None
    """Of a table whose content has no names of columns."""
    sample_rate: int | None = None
    """Of a sound that is an array, in samples a second."""


def arguments_of(
    function: Callable[..., Any], owner: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments of a call by name, and the defaults of those that were not given.

    Args:
        function: the function of a class.
        owner: the object whose method was called.
        args: positional arguments of the call.
        kwargs: keyword arguments of the call.

    Raises:
        TypeError: the function cannot be called so.
    """
    signature = inspect.signature(function)
    bound = signature.bind(owner, *args, **kwargs)
    bound.apply_defaults()
    given = dict(bound.arguments)
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            given.update(given.pop(parameter.name))
    return given


def handed_in(method: str, given: Mapping[str, Any]) -> Iterator[Handed]:
    """What is in a call: each element of a list, under the name with its index where there are several.

    Args:
        method: name of the method, one of `METHODS`.
        given: arguments of the call by name.

    Raises:
        TypeError: its name or its content is not among its arguments, or is something else than such a call has.
    """
    kind = METHODS[method]
    content = _first(given, _CONTENTS[kind])
    name = _first(given, _NAMES)
    if content is None or (name is None and kind is not FileKind.FILE):
        raise TypeError(f"it cannot be read from its arguments: {', '.join(given)}")
    if kind is FileKind.FILE:
        yield _file(content, given.get("artifact_path"))
        return
    step = _first(given, _STEPS)
    if kind is FileKind.TEXT and not _is_text(content):
        kind = FileKind.TABLE  # there are loggers that show texts in a table
    shown = str(name)
    if given.get("artifact_file") is not None and kind is not FileKind.TEXT:
        # A path, whose end says how it is stored there.
        shown = PurePosixPath(shown).with_suffix("").as_posix()
    if kind is FileKind.TABLE:
        yield _table(shown, content, given.get("columns"), step)
        return
    parts = list(content) if isinstance(content, (list, tuple)) else [content]
    rate = given.get("sample_rate")
    for place, part in enumerate(parts):
        each = shown if len(parts) == 1 else f"{shown}/{place}"
        if kind is FileKind.IMAGE:
            picture = _picture(part, given.get("dataformats"))
            yield Handed(FileKind.FIGURE if _is_figure(picture) else kind, each, picture, step)
        elif kind is FileKind.AUDIO:
            samples_a_second = rate[place] if isinstance(rate, (list, tuple)) else rate
            yield Handed(kind, each, _sound(part), step, sample_rate=samples_a_second)
        else:
            yield Handed(kind, each, part, step)


def _first(given: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((given[name] for name in names if given.get(name) is not None), None)


def _file(path: Any, directory: Any) -> Handed:
    if not is_path(path):
        raise TypeError(f"{type(path).__name__} is no path: record its files with Run.log_artifact")
    return Handed(FileKind.FILE, None if directory is None else f"{directory}/{Path(path).name}", path)


def _is_text(content: Any) -> bool:
    return isinstance(content, str) or (isinstance(content, list) and all(isinstance(one, str) for one in content))


def _is_figure(content: Any) -> bool:
    return hasattr(content, "savefig") or hasattr(content, "to_plotly_json")


def _table(name: str, content: Any, columns: Any, step: Any) -> Handed:
    if isinstance(content, Mapping):
        # One row may be given without lists.
        content = {key: value if isinstance(value, (list, tuple)) else [value] for key, value in content.items()}
    return Handed(FileKind.TABLE, name, content, step, columns)


def _picture(image: Any, order: str | None) -> Any:
    """An image as `media.write_image` takes it.

    Args:
        image: the image, or a tracker's object that has one.
        order: a letter for each dimension, as in `CHW`; None where the logger has no such argument.
    """
    if hasattr(image, "to_pil"):
        return image.to_pil()
    if hasattr(image, "dtype"):
        return _pixels(image, order)
    inner = getattr(image, "image", None)
    return inner if hasattr(inner, "save") else image


def _pixels(image: Any, order: str | None) -> Any:
    """An array or tensor with its dimensions and its brightness as `media.write_image` takes it."""
    is_tensor = hasattr(image, "detach")
    image = image.detach() if is_tensor else image
    if order is not None:
        places = [order.upper().index(one) for one in _WITH_CHANNELS if one in order.upper()]
        image = image.permute(places) if is_tensor else image.transpose(places)
    if "float" not in str(image.dtype):
        return image
    if order is not None:
        return image.clip(0, 1)
    if image.max() > 1 and image.min() >= 0:
        # As bright as whole numbers are, up to 255.
        return image.byte() if is_tensor else image.astype("uint8")
    return image


def _sound(audio: Any) -> Any:
    """A sound as `media.write_audio` takes it."""
    if is_path(audio):
        return audio
    # One channel may have a dimension of its own, before the samples.
    return audio.reshape(-1) if getattr(audio, "ndim", 1) > 1 and audio.shape[0] == 1 else audio
