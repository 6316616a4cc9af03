"""Operating system, Python and training libraries of this process. None of the libraries is imported for it."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from typing import Final

from tracelet_otel import semconv
from tracelet_otel._support.text import encodable

_ARCHITECTURES: Final = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm32",
    "armv6l": "arm32",
    "i386": "x86",
    "i686": "x86",
    "ppc64le": "ppc64",
}
"""Maps the system's name of an architecture to the OpenTelemetry conventions' name, where the two differ."""
_PACKAGES: Final = {
    semconv.TORCH_VERSION: ("torch",),
    semconv.LIGHTNING_VERSION: ("lightning", "pytorch-lightning"),
}


def platform_attributes() -> dict[str, str]:
    """Resource attributes of the operating system and of Python."""
    system, machine = platform.system().lower(), platform.machine().lower()
    found = {
        semconv.OS_TYPE: "solaris" if system == "sunos" else system,
        semconv.OS_VERSION: platform.version() if system in ("windows", "sunos") else platform.release(),
        semconv.HOST_ARCH: _ARCHITECTURES.get(machine, machine),
        semconv.PROCESS_RUNTIME_NAME: sys.implementation.name,
        semconv.PROCESS_RUNTIME_VERSION: platform.python_version(),
    }
    return {name: encodable(value) for name, value in found.items() if value}


def package_attributes() -> dict[str, str]:
    """Versions of the installed training libraries, as resource attributes."""
    found: dict[str, str] = {}
    for attribute, packages in _PACKAGES.items():
        for package in packages:
            try:
                found[attribute] = encodable(importlib.metadata.version(package))
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found
