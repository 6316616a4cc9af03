"""Which devices `CUDA_VISIBLE_DEVICES` leaves to a process, read as CUDA reads it. Pure.

Indices count as NVML and `nvidia-smi` do, by PCI bus. CUDA's own default order puts the fastest device
first, which is the same wherever all GPUs of a machine are equal or CUDA_DEVICE_ORDER is PCI_BUS_ID.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

VARIABLE: Final = "CUDA_VISIBLE_DEVICES"
_GPU: Final = "GPU-"
_MIG: Final = "MIG-"
_NUMBER: Final = re.compile(r"\s*([+-]?)0*([0-9]+)", re.ASCII)
_MOST_DIGITS: Final = 9
"""Of an index; Python refuses to read thousands of digits."""


class _Named(Protocol):
    @property
    def uuid(self) -> str | None:
        """The device's UUID; None where it cannot be asked."""


_Device = TypeVar("_Device", bound=_Named)


def visible(value: str | None, gpus: Sequence[_Device], migs: Sequence[_Device]) -> tuple[_Device, ...]:
    """The devices that a process may use, in the order in which they are named.

    The list ends at the first element that names no device. A device that is named twice leaves none at all.

    Args:
        value: of the variable; None where it is not set, which leaves all GPUs.
        gpus: all GPUs in NVML's order.
        migs: all MIG devices, which only their full UUIDs name.
    """
    if value is None:
        return tuple(gpus)
    find = _finder(value, gpus, migs)
    named: list[_Device] = []
    for element in value.split(","):
        device = find(element)
        if device is None:
            break
        if any(device is one for one in named):
            return ()
        named.append(device)
    return tuple(named)


def _finder(value: str, gpus: Sequence[_Device], migs: Sequence[_Device]) -> Callable[[str], _Device | None]:
    """What looks an element up; the first element says what all of them are."""
    if value.startswith(_GPU):
        return lambda element: _only([gpu for gpu in gpus if element.startswith(_GPU) and _begins(gpu, element)])
    if value.startswith(_MIG):
        return lambda element: _only([mig for mig in migs if mig.uuid == element])
    return lambda element: _at(gpus, element)


def _begins(device: _Named, prefix: str) -> bool:
    return device.uuid is not None and device.uuid.startswith(prefix)


def _only(found: Sequence[_Device]) -> _Device | None:
    return found[0] if len(found) == 1 else None


def _at(gpus: Sequence[_Device], element: str) -> _Device | None:
    """The GPU at the number with which an element begins."""
    match = _NUMBER.match(element)
    if match is None or len(match[2]) > _MOST_DIGITS:
        return None
    index = int(match[1] + match[2])
    return gpus[index] if 0 <= index < len(gpus) else None
