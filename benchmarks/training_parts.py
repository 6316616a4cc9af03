"""One training whose other threads, and its end, are measured by what is done there; `parts` runs it.

    python -m benchmarks.training_parts '{"case": "ours: otlp", "metrics": 5, "rows": 500, "home": "/tmp/x", ...}'

Prints microseconds of processor time a row, by part, as a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch
from benchmarks.stopwatch import Stopwatch
from benchmarks.training import Module, prepared, start
from opentelemetry.sdk.metrics.export import MetricReader

from tracelet_otel.exporters.otlp import exporter
from tracelet_otel.exporters.otlp.sender import Sender
from tracelet_otel.instrumentation.recorder import Recorder

SAMPLES = "tensors into columns of numbers"
FREEING = "freeing rows and their tensors"
MEASURING = "columns into the SDK"
COLLECTING = "the SDK's collection"
ENCODING = "exports into protobuf"
QUEUEING = "queue"
SENDING = "sending"
REST = "all else"


def main() -> None:
    """Train, and print what was spent on what."""
    order = json.loads(sys.argv[1])
    home = Path(order["home"])
    os.chdir(home)
    torch.set_num_threads(1)
    stopwatch = Stopwatch()
    for owner, name, part in (
        (Recorder, "drain", FREEING),
        (Recorder, "_take", SAMPLES),
        (Recorder, "_measure", MEASURING),
        (MetricReader, "collect", COLLECTING),
        (exporter, "encode", ENCODING),
        (exporter.OtlpExporter, "export", QUEUEING),
        (Sender, "_attempt", SENDING),
    ):
        stopwatch.measure(owner, name, part)
    logger, stop = start(order["case"], home, order)
    trainer, data = prepared(order["rows"], logger)
    stopwatch.spent_ns.clear()
    cpu_s, main_s = time.process_time(), time.thread_time()
    trainer.fit(Module(order["metrics"]), data)
    main_s = time.thread_time() - main_s
    stop()
    cpu_s = time.process_time() - cpu_s
    parts = (SAMPLES, FREEING, MEASURING, COLLECTING, ENCODING, QUEUEING, SENDING)
    found = {part: stopwatch.spent_ns[part] / 1e3 / order["rows"] for part in parts}
    print(json.dumps({**found, REST: (cpu_s - main_s) * 1e6 / order["rows"] - sum(found.values())}))


if __name__ == "__main__":
    main()
