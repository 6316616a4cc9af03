"""Pieces of protobuf's wire format.

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
"""Bytes that a varint may take."""
VALUE_BYTES: Final = 9
"""Of a number of 64 bits with its tag."""

_LOW: Final = 0x7F
_MORE: Final = 0x80
"""The bit of a byte that another one follows."""

tagged_double: Final = struct.Struct("<cd").pack
tagged_signed: Final = struct.Struct("<cq").pack
tagged_unsigned: Final = struct.Struct("<cQ").pack
"""A field of 64 bits: its tag, of one byte, and its value."""


def varint(number: int) -> bytes:
    """A number from 0 to 2^64-1."""
    written = bytearray()
    while number >= _MORE:
        written.append(number & _LOW | _MORE)
        number >>= 7
    written.append(number)
    return bytes(written)


def varints(numbers: Iterable[int]) -> list[bytes]:
    """What `varint` makes of each of many numbers that are close to each other."""
    return [_FIRST[number & _LOW] + _rest(number >> 7) if number >= _MORE else bytes((number,)) for number in numbers]


def tag(message: Any, field: str, wire_type: int) -> bytes:
    """What a field of a message type begins with."""
    return varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | wire_type)


def number(value: float, double: bytes, signed: bytes) -> bytes:
    """A field that is a double or an integer, with the tag of each."""
    return tagged_signed(signed, value) if isinstance(value, int) else tagged_double(double, value)


def delimited(begins: bytes, content: Sequence[bytes]) -> list[bytes]:
    """A field of a length: its tag, its length and its content, in pieces that are joined once."""
    return [begins + varint(sum(map(len, content))), *content]


_FIRST: Final = tuple(bytes((low | _MORE,)) for low in range(_MORE))
"""The first byte of a varint that has several."""
_rest: Final = lru_cache(1024)(varint)
