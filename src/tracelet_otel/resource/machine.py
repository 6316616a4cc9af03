"""The machine of this process: its processors and its memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import psutil

from tracelet_otel import semconv
from tracelet_otel._support.text import encodable

PROCESSORS_FILE: Final = Path("/proc/cpuinfo")
_MODEL: Final = re.compile(r"^model name\s*:\s*(\S.*?)\s*$", re.MULTILINE)
_READ: Final = 4096
"""Characters of the file that are read: the first processor's part has fewer, and all are alike."""


def machine_attributes(file: Path = PROCESSORS_FILE) -> dict[str, str | int]:
    """Resource attributes of processors and memory; what is not known is absent.

    Args:
        file: where Linux describes the processors.
    """
    found: dict[str, str | int | None] = {
        semconv.HOST_CPU_COUNT: psutil.cpu_count(logical=False),
        semconv.HOST_CPU_LOGICAL_COUNT: psutil.cpu_count(),
        semconv.HOST_MEMORY_SIZE: psutil.virtual_memory().total,
    }
    if file.is_file():
        with file.open(encoding="utf-8", errors="replace") as text:
            model = _MODEL.search(text.read(_READ))
        found[semconv.HOST_CPU_MODEL] = encodable(model[1]) if model else None
    return {name: value for name, value in found.items() if value}
