"""Writes pieces of protobuf's wire format.

Source: protobuf, "Encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

VARINT: Final = 0
FIXED64: Final = 1
LENGTH_DELIMITED: Final = 2
"""Wire types."""
WIDEST: Final = 10
"""Most bytes that a varint takes."""
VALUE_BYTES: Final = 9
"""Bytes of a 64-bit field: its tag, of one byte, and its value."""

_LOW: Final = 0x7F
"""Bits of a varint's byte that hold the number."""
_MORE: Final = 0x80
"""The other bit: set in each byte but the last."""

tagged_double: Final = struct.Struct("<cd").pack
tagged_signed: Final = struct.Struct("<cq").pack
tagged_unsigned: Final = struct.Struct("<cQ").pack
"""Each writes a field of 64 bits: its tag, of one byte, and its value."""


def varint(number: int) -> bytes:
    """Write a number from 0 to 2^64-1 as a varint."""
    written = bytearray()
    while number >= _MORE:
        written.append(number & _LOW | _MORE)
        number >>= 7
    written.append(number)
    return bytes(written)


def varints(numbers: Iterable[int]) -> list[bytes]:
    """Write many numbers as varints. It is made for numbers that are close: all bytes but the first are cached."""
    return [_FIRST[number & _LOW] + _rest(number >> 7) if number >= _MORE else bytes((number,)) for number in numbers]


def tag(message: Any, field: str, wire_type: int) -> bytes:
    """Tag of a field of a message type: its number and wire type."""
    return varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | wire_type)


def number(value: float, double: bytes, signed: bytes) -> bytes:
    """Write a field that is either a double or an integer.

    Args:
        value: the number.
        double: tag of the field for a float.
        signed: tag of the field for an integer.
    """
    return tagged_signed(signed, value) if isinstance(value, int) else tagged_double(double, value)


def delimited(field_tag: bytes, content: Sequence[bytes]) -> list[bytes]:
    """A length-delimited field: its tag, its length and its content, in pieces that the caller joins once."""
    return [field_tag + varint(sum(map(len, content))), *content]


_FIRST: Final = tuple(bytes((low | _MORE,)) for low in range(_MORE))
"""First byte of a varint of several bytes, by the lowest 7 bits of the number."""
_rest: Final = lru_cache(1024)(varint)
"""The bytes after the first, of the number without its lowest 7 bits."""
