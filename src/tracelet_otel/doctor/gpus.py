"""Checks NVML and the GPUs that a training would be seen to use."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from tracelet_otel._support.environment import environment
from tracelet_otel._support.findings import Finding, fine, note, problem
from tracelet_otel._support.guard import Guard
from tracelet_otel.doctor.findings import Chapter
from tracelet_otel.gpu.nvml import DriverGoneError, Nvml, NvmlAbsentError
from tracelet_otel.gpu.opening import open_devices
from tracelet_otel.gpu.visible import VARIABLE
from tracelet_otel.resource.nvidia import gpu_attributes
from tracelet_otel.settings import Settings

_TITLE: Final = "GPUs"
_INSTALL: Final = "pip install 'tracelet-otel[gpu]'"
_DRIVER: Final = "see whether nvidia-smi works; load the driver, or install one that fits the GPU"


def check_gpus(settings: Settings) -> Chapter:
    """Look for NVML and for GPUs.

    Args:
        settings: say whether GPUs are read at all.
    """
    if not settings.track_system:
        return Chapter(_TITLE, [note("track_system is off, so no GPU is read", "unset TRACELET_TRACK_SYSTEM")])
    guard = Guard()
    try:
        nvml = Nvml(guard)
    except NvmlAbsentError as error:
        return Chapter(_TITLE, [_absent(str(error))], facts={"gpus": []})
    except Exception as error:
        return Chapter(_TITLE, [problem(f"NVML cannot be used: {error}", _DRIVER)])
    try:
        devices = open_devices(nvml, guard, environment().get(VARIABLE))
    except DriverGoneError as error:
        return Chapter(_TITLE, [problem(f"the GPU driver does not answer: {error}", _DRIVER)])
    finally:
        nvml.close()
    gpus = [device.identity for device in devices]
    findings = [problem(text, _DRIVER) for text in guard.counts]
    if devices:
        findings.append(fine(f"NVML works, and a training is seen to use {len(gpus)}"))
    elif VARIABLE in environment():
        findings.append(note(f"{VARIABLE}={environment()[VARIABLE]} leaves no GPU to be read", f"unset {VARIABLE}"))
    else:
        findings.append(note("NVML works, and there is no GPU", "nothing, where no GPU is meant to be there"))
    table = [(f"GPU {one.index}", f"{one.name} ({one.uuid})") for one in gpus]
    return Chapter(_TITLE, findings, table, {"gpus": [asdict(one) for one in gpus]})


def _absent(why: str) -> Finding:
    if models := next(iter(gpu_attributes().values()), ()):
        return problem(f"there are GPUs ({', '.join(models)}), and no NVML to read them: {why}", _INSTALL)
    return note(f"no NVML: {why}", f"nothing, where there is no GPU; else {_INSTALL}, and NVIDIA's driver")
