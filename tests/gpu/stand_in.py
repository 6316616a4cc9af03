"""The machine that the stand-in for NVML plays: GPUs with values that a test chooses and changes."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LIBRARY = "libnvidia-ml.so.1"
SOURCE = Path(__file__).with_name("nvml_stand_in.c")

Script = dict[str, object]

NOT_SUPPORTED = 3
NO_PERMISSION = 4
FUNCTION_NOT_FOUND = 13
UNINITIALIZED = 1
DRIVER_NOT_LOADED = 9
GPU_IS_LOST = 15
RESET_REQUIRED = 16
LIB_RM_VERSION_MISMATCH = 18
UNKNOWN = 999

DRIVER = "580.65.06"
GIB = 2**30
ALL_REASONS = 0x1FF


def uuid(index: int) -> str:
    return f"GPU-{index:08x}-0000-4000-8000-00000000000{index}"


def mig_uuid(index: int, place: int) -> str:
    return f"MIG-{index:08x}-0000-4000-8000-0000000000{place}{index}"


def gpu(index: int) -> Script:
    """A GPU that has everything; numbers are NVML's and differ between devices."""
    values: Script = {
        "uuid": uuid(index),
        "name": "NVIDIA H100 80GB HBM3",
        "utilization": 40 + index,
        "encoder": 20 + index,
        "decoder": 10 + index,
        "memory_total": 80 * GIB,
        "memory_used": (30 + index) * GIB,
        "memory_reserved": GIB // 2,
        "power": 350_500 + index,
        "energy": 7_000_250 + index,
        "temperature": 50 + index,
        "fan": 60 + index,
        "corrected": 3 + index,
        "uncorrected": 0,
        "sm_clock": 1_980 - index,
        "memory_clock": 2_619,
        "pcie_received": 1_500 + index,
        "pcie_transmitted": 700 + index,
        "throttle": 0x4,
        "throttle_known": ALL_REASONS,
        "processes": f"1={GIB},self={(2 + index) * GIB}",
    }
    return {f"{index}.{name}": value for name, value in values.items()}


def machine(gpus: int, **changes: object) -> Script:
    """Equal GPUs under a driver; `changes` by key of the script."""
    script: Script = {"driver": DRIVER, "devices": gpus}
    for index in range(gpus):
        script |= gpu(index)
    return script | changes


def with_migs(script: Script, index: int, places: int) -> Script:
    """The GPU at `index` cut into MIG devices: of those, the driver tells less, as it does of the GPU."""
    script = {**script, f"{index}.migs": places, f"{index}.utilization.error": NOT_SUPPORTED}
    for place in range(places):
        mig: Script = {
            "uuid": mig_uuid(index, place),
            "name": "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
            "memory_total": 10 * GIB,
            "memory_used": (place + 1) * GIB,
            "memory_reserved": 0,
        }
        script |= {f"{index}/{place}.{name}": value for name, value in mig.items()}
    return script


def build(directory: Path, *flags: str) -> Path:
    """Compile the stand-in; its directory is to be the first in which libraries are looked for."""
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", f"-Wl,-soname,{LIBRARY}", *flags]
    subprocess.run([*command, "-o", str(directory / LIBRARY), str(SOURCE)], check=True)
    return directory


def preload() -> None:
    """Load the stand-in in a process that was forked: the loader reads `LD_LIBRARY_PATH` at the start of a program.

    Who asks for the library by its name gets it from then on.
    """
    for directory in os.environ.get("LD_LIBRARY_PATH", "").split(":"):
        if directory and (path := Path(directory, LIBRARY)).exists() and "NVML_STAND_IN" in os.environ:
            ctypes.CDLL(str(path))
            return


@dataclass(frozen=True)
class StandIn:
    """A script that a library obeys."""

    library: Path
    """The directory that the library is in."""
    script: Path

    def plays(self, script: Mapping[str, object]) -> None:
        """Have it answer so from now on."""
        new = self.script.with_suffix(".new")
        new.write_text("".join(f"{key} {value}\n" for key, value in script.items()))
        new.replace(self.script)

    @property
    def environment(self) -> dict[str, str]:
        """What a child process needs to use it."""
        paths = [str(self.library), os.environ.get("LD_LIBRARY_PATH", "")]
        return {"LD_LIBRARY_PATH": ":".join(filter(None, paths)), "NVML_STAND_IN": str(self.script)}
