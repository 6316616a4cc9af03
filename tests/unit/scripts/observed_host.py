"""Says which metrics of the host there are: `observed_host.py HIDDEN`, a module or a folder of /proc that is absent."""

import json
import logging
import os
import sys
from pathlib import Path

logging.basicConfig(level=logging.DEBUG, format="%(message)s")
hidden = sys.argv[1]
sys.modules |= {hidden: None} if "." in hidden else {}

import psutil  # noqa: E402
from opentelemetry.sdk.metrics import MeterProvider  # noqa: E402
from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: E402

from tracelet_otel.system.host import observe_host  # noqa: E402

proc = Path("proc")
proc.mkdir()
for entry in os.scandir("/proc"):
    if entry.name != hidden:
        (proc / entry.name).symlink_to(entry.path)
psutil.PROCFS_PATH = str(proc)
reader = InMemoryMetricReader()
observe_host(MeterProvider([reader], shutdown_on_exit=False))
data = reader.get_metrics_data()
print(json.dumps([m.name for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []))
