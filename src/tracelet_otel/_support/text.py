"""Text in a form that protobuf, and so OTLP, can carry; and text that is cut."""

from __future__ import annotations


def encodable(text: str) -> str:
    r"""Replace lone surrogates with the characters `\udc..`, so that different texts stay different.

    They come from file names and arguments that are not UTF-8 (PEP 383). OTLP would lose the whole attribute.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def shortened(text: str, length: int) -> str:
    """Cut a text to a number of characters, of which the last one is an ellipsis; a shorter text stays as it is."""
    return text if len(text) <= length else f"{text[: length - 1]}\N{HORIZONTAL ELLIPSIS}"
