"""Text as protobuf, and with it OTLP, can carry it."""

from __future__ import annotations


def encodable(text: str) -> str:
    r"""A text without lone surrogates: those become `\udc..`, so that different texts stay different.

    They come from file names and arguments that are no UTF-8 (PEP 383); OTLP would lose the whole
    attribute.
    """
    return text.encode("utf-8", "backslashreplace").decode()
