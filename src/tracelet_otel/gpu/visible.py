"""Which devices a process may use according to `CUDA_VISIBLE_DEVICES`, parsed as CUDA parses it. Pure.

Indices are those of NVML and `nvidia-smi`, which order devices by PCI bus. CUDA's own default order puts the fastest
device first. Both orders are the same where all GPUs of a machine are equal, and CUDA uses NVML's order where
CUDA_DEVICE_ORDER is PCI_BUS_ID.
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
"""The most digits that an index may have: Python refuses to parse thousands of them."""


class _Named(Protocol):
    @property
    def uuid(self) -> str | None:
        """The device's UUID; None where it is not known."""


_Device = TypeVar("_Device", bound=_Named)


def visible(value: str | None, gpus: Sequence[_Device], migs: Sequence[_Device]) -> tuple[_Device, ...]:
    """Return the devices that a process may use, in the order in which the variable names them.

    The list ends at the first element that names no device. If a device is named twice, the process may use none.

    Args:
        value: value of the variable; None where it is not set, which makes all GPUs visible.
        gpus: all GPUs in NVML's order.
        migs: all MIG devices, which are named by their full UUIDs only.
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
    """Return the function that looks up an element. The first element decides what kind of name all of them are."""
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
    """The GPU whose index is the number at the beginning of an element."""
    match = _NUMBER.match(element)
    if match is None or len(match[2]) > _MOST_DIGITS:
        return None
    index = int(match[1] + match[2])
    return gpus[index] if 0 <= index < len(gpus) else None
