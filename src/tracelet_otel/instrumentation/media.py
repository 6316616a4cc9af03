"""Pictures, tables, texts and sounds as files: each function writes what a user has handed over to a path.

What a user hands over belongs to libraries that this package does not need otherwise. So it is recognized by what it
has, and Pillow, matplotlib and plotly are imported only where one of their objects is given.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import wave
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_CHANNELS: Final = (1, 3, 4)
"""Gray, colour, and colour with transparency."""
_WITH_CHANNELS: Final = 3
"""Dimensions of an image that has channels."""
_WHITE: Final = 255
_LOUDEST: Final = 2**15 - 1
_MOST_CHANNELS: Final = 64
"""Of a sound; more of them are samples."""
_IMAGES: Final = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp")
_SOUNDS: Final = (".wav", ".mp3", ".ogg", ".flac")


def is_path(value: Any) -> bool:
    """Whether a user has given a file, and not what is in it."""
    return isinstance(value, (str, Path))


def image_suffix(image: Any) -> str:
    """Suffix of the file that `write_image` writes.

    Raises:
        ValueError: a file is given that trackers would not show.
    """
    return _suffix(image, _IMAGES, ".png")


def write_image(image: Any, target: Path) -> None:
    """Write an image.

    Args:
        image: path of a file, an image of Pillow, or an array or tensor of shape (height, width), (height, width,
            channels) or (channels, height, width), with 1, 3 or 4 channels. Whole numbers are from 0 to 255, others
            from 0 to 1.
        target: the file.

    Raises:
        TypeError: it is something else.
        ValueError: its shape or its numbers are no image's.
    """
    if is_path(image):
        shutil.copyfile(image, target)
    elif hasattr(image, "save") and hasattr(image, "mode"):
        image.save(target, format="PNG")
    else:
        from PIL import Image

        Image.fromarray(_pixels(image)).save(target, format="PNG")


def figure_suffix(figure: Any) -> str:
    """Suffix of the file that `write_figure` writes: a figure of plotly is kept as one, as JSON."""
    return ".json" if hasattr(figure, "to_plotly_json") else ".png"


def write_figure(figure: Any, target: Path) -> None:
    """Write a figure of matplotlib or plotly.

    Raises:
        TypeError: it is something else.
    """
    if hasattr(figure, "to_plotly_json"):
        target.write_text(figure.to_json(), encoding="utf-8")
    elif hasattr(figure, "savefig"):
        figure.savefig(target, format="png", bbox_inches="tight")
    else:
        raise TypeError(f"{type(figure).__name__} is no figure of matplotlib or plotly")


def write_table(columns: Sequence[str] | None, data: Any, target: Path) -> None:
    """Write a table as JSON with `columns` and `data`, a list of rows.

    Args:
        columns: names of the columns; None where `data` has them.
        data: rows, a mapping of columns by name, or a data frame.
        target: the file.

    Raises:
        ValueError: rows are not as long as there are columns.
    """
    names, rows = _table(columns, data)
    for place, row in enumerate(rows):
        if len(row) != len(names):
            raise ValueError(f"row {place} has {len(row)} cells, and there are {len(names)} columns")
    plain = {"columns": names, "data": [[_cell(value) for value in row] for row in rows]}
    target.write_text(json.dumps(plain, allow_nan=False), encoding="utf-8")


def audio_suffix(audio: Any) -> str:
    """Suffix of the file that `write_audio` writes.

    Raises:
        ValueError: a file is given that trackers would not show.
    """
    return _suffix(audio, _SOUNDS, ".wav")


def write_audio(audio: Any, sample_rate: int | None, target: Path) -> None:
    """Write a sound, with 16 bits a sample.

    Args:
        audio: path of a file, or an array or tensor of shape (samples,) or (samples, channels), from -1 to 1. Whole
            numbers are samples of 16 bits as they are.
        sample_rate: samples in a second; needed for an array.
        target: the file.

    Raises:
        TypeError: it is something else.
        ValueError: there is no sample rate, or the shape or the numbers are no sound's.
    """
    if is_path(audio):
        shutil.copyfile(audio, target)
        return
    if not sample_rate:
        raise ValueError("an array of samples needs sample_rate, in samples a second")
    samples = _array(audio)
    if samples.ndim not in (1, 2):
        raise ValueError(f"an array of shape {samples.shape} is no sound: give (samples,) or (samples, channels)")
    if samples.ndim > 1 and samples.shape[1] > _MOST_CHANNELS:
        raise ValueError(f"a sound of shape {samples.shape} would have {samples.shape[1]} channels: turn it round")
    if samples.dtype.kind not in "fiu":
        raise TypeError(f"{type(audio).__name__} is no sound")
    if samples.dtype.kind != "f" and samples.size and not (-_LOUDEST - 1 <= samples.min() <= samples.max() <= _LOUDEST):
        raise ValueError(f"whole numbers from {samples.min()} to {samples.max()}: a sample has 16 bits")
    if samples.dtype.kind == "f":
        samples = (samples.clip(-1, 1) * _LOUDEST).round()
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(int(sample_rate))
        file.writeframes(samples.astype("<i2").tobytes())


def _suffix(given: Any, known: Iterable[str], otherwise: str) -> str:
    """Suffix of what is given as a file, which stays as it is, or else of what is made.

    Raises:
        ValueError: trackers would not show such a file.
    """
    if not is_path(given):
        return otherwise
    found = Path(given).suffix.lower()
    if found not in known:
        raise ValueError(f"{given} is none of {', '.join(known)}, which trackers show: record it with log_artifact")
    return found


def _array(value: Any) -> Any:
    # Not imported: who has an array or a tensor to show has NumPy.
    np: Any = sys.modules.get("numpy")
    if np is None:
        raise TypeError("without NumPy, give the path of a file")
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        # NumPy has no such numbers.
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    return np.asarray(value)


def _pixels(image: Any) -> Any:
    pixels = _array(image)
    if pixels.dtype.kind not in "buif":
        raise TypeError(f"{type(image).__name__} is no image")
    shape = pixels.shape
    has_channels = pixels.ndim == _WITH_CHANNELS
    # Tensors have their channels first, arrays last. One that could be both is read as its type suggests.
    first = has_channels and shape[0] in _CHANNELS
    last = has_channels and shape[-1] in _CHANNELS
    if first and (hasattr(image, "detach") or not last):
        pixels = pixels.transpose(1, 2, 0)
    elif not last and (has_channels or pixels.ndim != _WITH_CHANNELS - 1):
        raise ValueError(f"an array of shape {shape} is no image")
    if has_channels and pixels.shape[-1] == 1:
        pixels = pixels[:, :, 0]
    is_share = pixels.dtype.kind in "bf"
    most = 1 if is_share else _WHITE
    if pixels.size and not (pixels.min() >= 0 and pixels.max() <= most):
        raise ValueError(f"numbers from {pixels.min()} to {pixels.max()}: give whole ones to 255, or others to 1")
    return ((pixels * float(_WHITE)).round() if is_share else pixels).astype("uint8")


def _table(columns: Sequence[str] | None, data: Any) -> tuple[list[str], list[Sequence[Any]]]:
    if hasattr(data, "columns") and hasattr(data, "itertuples"):
        return [str(name) for name in data.columns], list(data.itertuples(index=False, name=None))
    if isinstance(data, Mapping):
        return [str(name) for name in data], list(zip(*data.values(), strict=True))
    rows: list[Sequence[Any]] = [list(row) for row in data]
    names = columns if columns is not None else [str(place) for place in range(len(rows[0]) if rows else 0)]
    return [str(name) for name in names], rows


def _cell(value: Any) -> Any:
    """A cell in a form that JSON has. What is unknown is null, and an infinity is text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
