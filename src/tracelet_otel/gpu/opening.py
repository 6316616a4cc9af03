"""Opens the devices that this process may use, and reads once what does not change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tracelet_otel._support.guard import Guard
from tracelet_otel.gpu.device import Device
from tracelet_otel.gpu.nvml import GpuLostError, Nvml
from tracelet_otel.gpu.reading import Identity
from tracelet_otel.gpu.visible import visible


@dataclass(frozen=True)
class _Listed:
    """A device in NVML's list. Devices that cannot be opened are kept too: the position in the list is CUDA's index."""

    index: int
    """Index of the GPU; a MIG device has that of its GPU."""
    handle: Any
    uuid: str | None


def open_devices(nvml: Nvml, guard: Guard, visible_devices: str | None) -> tuple[Device, ...]:
    """Open the devices that this process may use; one that cannot be opened is reported and left out.

    Args:
        nvml: NVML, as initialised in this process.
        guard: where failures are reported.
        visible_devices: the value of `CUDA_VISIBLE_DEVICES`.

    Raises:
        DriverGoneError: the driver no longer answers.
    """
    driver_version = nvml.ask("the version of the GPU driver", ("nvmlSystemGetDriverVersion",))
    gpus = list(_gpus(nvml, guard))
    migs = [mig for gpu in gpus if gpu.handle is not None for mig in _migs(nvml, guard, gpu)]
    devices = []
    for one in visible(visible_devices, gpus, migs):
        if one.uuid is None:
            continue
        try:
            name = nvml.ask(f"name of GPU {one.index}", ("nvmlDeviceGetName", one.handle))
            devices.append(Device(nvml, guard, one.handle, Identity(one.index, one.uuid, name, driver_version)))
        except GpuLostError as error:
            _report(guard, one.index, error)
    return tuple(devices)


def _gpus(nvml: Nvml, guard: Guard) -> Iterator[_Listed]:
    for index in range(nvml.ask("the number of GPUs", ("nvmlDeviceGetCount",)) or 0):
        handle = uuid = None
        try:
            handle = nvml.ask(f"GPU {index}", ("nvmlDeviceGetHandleByIndex", index))
            if handle is not None:
                uuid = nvml.ask(f"UUID of GPU {index}", ("nvmlDeviceGetUUID", handle))
        except GpuLostError as error:
            handle = None
            _report(guard, index, error)
        yield _Listed(index, handle, uuid)


def _migs(nvml: Nvml, guard: Guard, gpu: _Listed) -> Iterator[_Listed]:
    what = f"MIG devices of GPU {gpu.index}"
    try:
        for place in range(nvml.ask(what, ("nvmlDeviceGetMaxMigDeviceCount", gpu.handle)) or 0):
            handle = nvml.ask(what, ("nvmlDeviceGetMigDeviceHandleByIndex", gpu.handle, place))
            if handle is not None:
                yield _Listed(gpu.index, handle, nvml.ask(what, ("nvmlDeviceGetUUID", handle)))
    except GpuLostError as error:
        _report(guard, gpu.index, error)


def _report(guard: Guard, index: int, error: GpuLostError) -> None:
    guard.report(f"GPU {index} could not be opened", str(error))
