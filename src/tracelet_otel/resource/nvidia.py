"""GPUs of the machine, versions of CUDA and of NVIDIA's driver, without importing torch or initialising a GPU."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Final

from tracelet_otel import semconv
from tracelet_otel._support.text import encodable

DRIVER_FILE: Final = Path("/proc/driver/nvidia/version")
GPUS_DIRECTORY: Final = Path("/proc/driver/nvidia/gpus")
"""Where the driver's kernel module has a directory for each GPU, as it is on the bus."""
_MODEL: Final = re.compile(r"^Model:\s*(\S.*?)\s*$", re.MULTILINE)
_DRIVER: Final = re.compile(r"Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)")
_CUDA: Final = re.compile(r"""^cuda\s*(?::[^=\n]*)?=\s*["']([^"']+)["']""", re.MULTILINE)


def cuda_attributes() -> dict[str, str]:
    """The version of CUDA that torch was built for; empty where torch is built without CUDA or not installed."""
    imported = sys.modules.get("torch")
    version = getattr(getattr(imported, "version", None), "cuda", None) if imported else _cuda_of_installed()
    return {semconv.CUDA_VERSION: encodable(version)} if isinstance(version, str) and version else {}


def driver_attributes(file: Path = DRIVER_FILE) -> dict[str, str]:
    """The version of NVIDIA's driver; empty where the driver is not loaded.

    Args:
        file: version file of the driver's kernel module.
    """
    if not file.is_file():
        return {}
    version = _DRIVER.search(file.read_text(encoding="utf-8", errors="replace"))
    return {semconv.DRIVER_VERSION: version[1]} if version else {}


def gpu_attributes(directory: Path = GPUS_DIRECTORY) -> dict[str, tuple[str, ...]]:
    """The models of the machine's GPUs, also of those that this process does not use; empty where there is no driver.

    Args:
        directory: directory of the driver's kernel module, with one of each GPU.
    """
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in sorted(directory.glob("*/information")))
    models = tuple(encodable(found[1]) for text in texts if (found := _MODEL.search(text)))
    return {semconv.GPU_MODELS: models} if models else {}


def _cuda_of_installed() -> str | None:
    spec = importlib.util.find_spec("torch")
    file = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    if file is None or not file.is_file():
        return None
    version = _CUDA.search(file.read_text(encoding="utf-8", errors="replace"))
    return version[1] if version else None
