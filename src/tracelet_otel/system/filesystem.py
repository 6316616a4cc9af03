"""Metrics of the filesystem that the working directory is on, by the conventions of OpenTelemetry for systems.

`opentelemetry-instrumentation-system-metrics` does not have them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tracelet_otel import semconv
from tracelet_otel._support.guard import log


def observe_filesystem(meter_provider: MeterProvider) -> None:
    """Create instruments for the filesystem that the working directory is on now.

    Args:
        meter_provider: where the instruments are created.
    """
    filesystem = Filesystem(Path.cwd())
    meter = meter_provider.get_meter(semconv.SCOPE_HOST)
    meter.create_observable_up_down_counter(
        semconv.FILESYSTEM_USAGE,
        [filesystem.usage],
        semconv.BYTES_UNIT,
        "Bytes of the filesystem that the working directory is on",
    )
    meter.create_observable_gauge(
        semconv.FILESYSTEM_UTILIZATION,
        [filesystem.utilization],
        semconv.RATIO_UNIT,
        "Share of the filesystem that the working directory is on which is used, of what users can use",
    )


class Filesystem:
    """A filesystem, of which the SDK's callbacks ask. Where it cannot be read, there is no point.

    Args:
        directory: any directory on it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._attributes = _attributes(directory)

    def usage(self, _options: CallbackOptions) -> Iterator[Observation]:
        """Bytes that are used, that users can use, and that only the system can."""
        found = self._read()
        if found is not None:
            free = found.f_bavail * found.f_frsize
            reserved = (found.f_bfree - found.f_bavail) * found.f_frsize
            used = (found.f_blocks - found.f_bfree) * found.f_frsize
            states = {
                semconv.FILESYSTEM_USED: used,
                semconv.FILESYSTEM_FREE: free,
                semconv.FILESYSTEM_RESERVED: reserved,
            }
            for state, size in states.items():
                yield Observation(size, {**self._attributes, semconv.FILESYSTEM_STATE: state})

    def utilization(self, _options: CallbackOptions) -> Iterator[Observation]:
        """The share that is used, as `df` counts it: what only the system can use is left out."""
        found = self._read()
        if found is not None:
            used = found.f_blocks - found.f_bfree
            usable = used + found.f_bavail
            if usable > 0:
                yield Observation(
                    used / usable, {**self._attributes, semconv.FILESYSTEM_STATE: semconv.FILESYSTEM_USED}
                )

    def _read(self) -> os.statvfs_result | None:
        try:
            found = os.statvfs(self._directory)
        except (OSError, AttributeError) as error:  # Windows has no such call
            log.debug("the filesystem of %s cannot be read: %s", self._directory, error)
            return None
        # A filesystem such as FUSE's may say nothing of its size.
        return found if found.f_blocks else None


def _attributes(directory: Path) -> dict[str, Any]:
    """Mount point, device and type of the filesystem that a directory is on, as far as they are known."""
    try:
        mounts = {Path(one.mountpoint): one for one in psutil.disk_partitions(all=True)}
        mount = next((mounts[one] for one in (directory, *directory.parents) if one in mounts), None)
    except OSError:
        mount = None
    if mount is None:
        return {}
    found = {
        semconv.SYSTEM_DEVICE: mount.device,
        semconv.FILESYSTEM_MOUNTPOINT: mount.mountpoint,
        semconv.FILESYSTEM_TYPE: mount.fstype,
    }
    return {name: value for name, value in found.items() if value}
