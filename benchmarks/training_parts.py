"""One training whose other threads are measured by what they do; `parts` runs it.

    python -m benchmarks.training_parts '{"case": "ours: otlp", "metrics": 5, "rows": 500, "home": "/tmp/x", ...}'

Prints microseconds of processor time a row, by part, as a line of JSON.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from benchmarks.training import Module, prepared, start
from opentelemetry.sdk.metrics.export import MetricReader

from tracelet_otel.exporters import otlp_stock
from tracelet_otel.exporters.otlp import OtlpExporter
from tracelet_otel.exporters.otlp_delivery import OtlpDelivery
from tracelet_otel.instrumentation.recorder import Recorder
from tracelet_otel.relay import client

SAMPLES = "tensors into samples"
COLLECTING = "the SDK's collection"
ENCODING = "exports into protobuf"
QUEUEING = "queue"
SENDING = "sending"
REST = "all else"


class Parts:
    """Processor time of functions, each without those that it calls."""

    def __init__(self) -> None:
        self.spent_ns: Counter[str] = Counter()
        self._inner = threading.local()

    def measure(self, owner: Any, name: str, part: str) -> None:
        """Have a function measured from now on."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:
            outer_ns = getattr(self._inner, "ns", 0)
            self._inner.ns = 0
            began_ns = time.thread_time_ns()
            try:
                return function(*args, **kwargs)
            finally:
                took_ns = time.thread_time_ns() - began_ns
                self.spent_ns[part] += took_ns - self._inner.ns
                self._inner.ns = outer_ns + took_ns

        setattr(owner, name, measured)


def main() -> None:
    """Train, and print what was spent on what."""
    order = json.loads(sys.argv[1])
    home = Path(order["home"])
    os.chdir(home)
    torch.set_num_threads(1)
    parts = Parts()
    for owner, name, part in (
        (Recorder, "drain", SAMPLES),
        (MetricReader, "collect", COLLECTING),
        (client, "encode", ENCODING),
        (otlp_stock, "encode", ENCODING),
        (client.RelayExporter, "export", QUEUEING),
        (OtlpExporter, "export", QUEUEING),
        (client.RelayExporter, "_send", SENDING),
        (OtlpDelivery, "_attempt", SENDING),
    ):
        parts.measure(owner, name, part)
    logger, stop = start(order["case"], home, order)
    trainer, data = prepared(order["rows"], logger)
    parts.spent_ns.clear()
    others_s = time.process_time() - time.thread_time()
    trainer.fit(Module(order["metrics"]), data)
    others_s = time.process_time() - time.thread_time() - others_s
    found = {
        part: parts.spent_ns[part] / 1e3 / order["rows"] for part in (SAMPLES, COLLECTING, ENCODING, QUEUEING, SENDING)
    }
    stop()
    print(json.dumps({**found, REST: others_s * 1e6 / order["rows"] - sum(found.values())}))


if __name__ == "__main__":
    main()
