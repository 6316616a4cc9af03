"""Compares what is observed with what `nvidia-smi` says: for machines that have a GPU.

python -m tests.gpu.against_nvidia_smi
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.gpu.observing import Series, observing, series
from tracelet_otel import semconv

_MIB = 2**20
_MHZ = 1_000_000
UNKNOWN = ("[N/A]", "[Not Supported]", "N/A")
"""What `nvidia-smi` says of what there is not."""


@dataclass(frozen=True)
class Field:
    """A field of `nvidia-smi` and what is observed of the same."""

    name: str
    metric: str
    own: str | None = None
    """What tells the point apart from others of its metric."""
    unit: float = 1
    """What one of `nvidia-smi`'s is in ours."""
    tolerance: float = 0
    """By which both may differ, in `nvidia-smi`'s unit: they are read one after the other."""


FIELDS = (
    Field("utilization.gpu", semconv.GPU_UTILIZATION, semconv.TASK_GENERAL, 0.01, 30),
    Field("utilization.encoder", semconv.GPU_UTILIZATION, semconv.TASK_ENCODER, 0.01, 30),
    Field("utilization.decoder", semconv.GPU_UTILIZATION, semconv.TASK_DECODER, 0.01, 30),
    # Rounded to MiB; what runs elsewhere may come and go.
    Field("memory.used", semconv.GPU_MEMORY_USAGE, None, _MIB, 64),
    Field("memory.total", semconv.GPU_MEMORY_LIMIT, None, _MIB, 1),
    Field("power.draw", semconv.HW_POWER, None, 1, 40),
    Field("temperature.gpu", semconv.HW_TEMPERATURE, None, 1, 4),
    Field("fan.speed", semconv.HW_FAN_SPEED_RATIO, None, 0.01, 10),
    Field("ecc.errors.corrected.volatile.total", semconv.HW_ERRORS, semconv.ERRORS_CORRECTED),
    Field("ecc.errors.uncorrected.volatile.total", semconv.HW_ERRORS, semconv.ERRORS_UNCORRECTED),
    Field("clocks.sm", semconv.GPU_CLOCK_FREQUENCY, semconv.CLOCK_SM, _MHZ, 1_800),
    Field("clocks.mem", semconv.GPU_CLOCK_FREQUENCY, semconv.CLOCK_MEMORY, _MHZ, 50),
)
IDENTITY = {
    "index": semconv.GPU_INDEX,
    "uuid": semconv.HW_ID,
    "name": semconv.HW_NAME,
    "driver_version": semconv.HW_DRIVER_VERSION,
}
QUERY = [*IDENTITY, *(field.name for field in FIELDS)]


def rows_of(text: str) -> list[dict[str, str]]:
    """What `nvidia-smi --format=csv,noheader,nounits` printed, by field."""
    return [dict(zip(QUERY, row, strict=True)) for row in csv.reader(text.splitlines(), skipinitialspace=True)]


def differences(found: Series, row: dict[str, str]) -> list[str]:
    """What is observed of one GPU otherwise than `nvidia-smi` says it."""
    differ = []
    for field in FIELDS:
        said, value = row[field.name], found.get((field.metric, row["uuid"], field.own))
        ours = None if value is None else value / field.unit
        if said in UNKNOWN:
            agree = ours is None
        else:
            agree = ours is not None and abs(ours - float(said)) <= field.tolerance + 1e-6
        if not agree:
            differ.append(f"GPU {row['index']}: {field.name} is {said}, observed is {ours}")
    return differ


def identities(metrics: list[dict[str, object]]) -> list[dict[str, str]]:
    """What the points of `hw.status` say of each device, in the terms of `nvidia-smi`."""
    (status,) = (metric["points"] for metric in metrics if metric["name"] == semconv.HW_STATUS)
    attributes = [point["attributes"] for point in status]  # type: ignore[attr-defined]
    by_uuid = {one[semconv.HW_ID]: {field: str(one[name]) for field, name in IDENTITY.items()} for one in attributes}
    return list(by_uuid.values())


def ask_nvidia_smi() -> str:
    """What `nvidia-smi` says of all GPUs at this moment."""
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Compare, print both, and fail where they differ."""
    with tempfile.TemporaryDirectory() as directory, observing(Path(directory), {}) as child:
        child("collect")
        rows, metrics = rows_of(ask_nvidia_smi()), child("collect")
        counts, log = child("counts"), child.log
    found = series(metrics)
    differ = [difference for row in rows for difference in differences(found, row)]
    if identities(metrics) != [{field: row[field] for field in IDENTITY} for row in rows]:
        differ.append("the devices are not the same")
    for row in rows:
        sys.stdout.write(f"{row}\n")
    for (metric, uuid, own), value in found.items():
        sys.stdout.write(f"{uuid} {metric} {own or ''} {value}\n")
    sys.stdout.write(f"reported: {counts}\n{log}")
    sys.exit("\n".join(differ) or 0)


if __name__ == "__main__":
    main()
