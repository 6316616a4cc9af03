"""Text in a form that protobuf, and so OTLP, can carry; text that is cut; and numbers and times for people."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final

_MINUTE_S: Final = 60.0


def encodable(text: str) -> str:
    r"""Replace lone surrogates with the characters `\udc..`, so that different texts stay different.

    They come from file names and arguments that are not UTF-8 (PEP 383). OTLP would lose the whole attribute.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def shortened(text: str, length: int) -> str:
    """Cut a text to a number of characters, of which the last one is an ellipsis; a shorter text stays as it is."""
    return text if len(text) <= length else f"{text[: length - 1]}\N{HORIZONTAL ELLIPSIS}"


def number(value: float) -> str:
    """A value in few digits."""
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def duration(seconds: float) -> str:
    """A time, as in `12.3 s` and `1:02:03`."""
    return f"{seconds:.1f} s" if seconds < _MINUTE_S else str(timedelta(seconds=round(seconds)))
