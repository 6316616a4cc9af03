"""How cost grows with the work: names, rows, ranks.

    python -m benchmarks.scale

Names and rows go from the recorder through the SDK and the relay's journal into a ClearML session, each case in a
process of its own; ranks go through the relay's merge. Time and memory should grow with readings and with nothing else.
"""

from __future__ import annotations

import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.child import figures
from benchmarks.options import run
from benchmarks.report import show
from benchmarks.results import Results

from tracelet_otel import semconv
from tracelet_otel.protocol.decode import Reading
from tracelet_otel.relay.merge import Merge

RUN = """
import json, os, resource, sys, time
order = json.loads(sys.argv[1])
os.chdir(order["home"])
import psutil
import tracelet_otel as tracelet
from tracelet_otel import semconv
from tracelet_otel.instrumentation.recorder import Row

run = tracelet.start_logging("bench", backend="clearml", config={"track_system": False, "export_interval": 0.2})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(relay,) = psutil.Process().children()
names = [f"metric {name}" for name in range(order["names"])]
cpu_s, relay_cpu_s = time.process_time(), sum(relay.cpu_times()[:2])
for step in range(order["rows"]):
    row = {name: step * 0.1 for name in names}
    run._signals.recorder.record(Row(time.time_ns(), row, step, semconv.AXIS_TRAINER, "fit", 0))
    if step % 1000 == 999:
        while run._signals.recorder.queued > 5000:
            time.sleep(0.01)
total = order["rows"] * order["names"]
# The relay may not have said anything yet.
while (account := run.accounts.get("clearml")) is None or account.delivered < total:
    time.sleep(0.05)
# What a run that goes on needs, not what its end does.
relay_mib = relay.memory_info().rss / 2**20
cpu_s, relay_cpu_s = time.process_time() - cpu_s, sum(relay.cpu_times()[:2]) - relay_cpu_s
peak_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
run.stop()
us, relay_us = cpu_s / total * 1e6, relay_cpu_s / total * 1e6
print(json.dumps({"us": us, "relay_us": relay_us, "mib": peak_mib, "relay_mib": relay_mib}))
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is logged."""

    readings: int = 200_000
    """For each number of names and of ranks."""
    names: Sequence[int] = (10, 100, 1000, 2000)
    rows: Sequence[int] = (1_000, 10_000, 100_000, 1_000_000)
    ranks: Sequence[int] = (1, 4, 16, 64)


def log(names: int, rows: int) -> dict[str, float]:
    """Processor time a reading and memory, in the training and in its relay."""
    with tempfile.TemporaryDirectory() as home:
        return figures(["-c", RUN], {"names": names, "rows": rows}, home)


def merge(ranks: int, readings: int) -> dict[str, float]:
    """The relay's merge of so many readings in all."""
    merging, names, sequence = Merge(60), [f"metric {name}" for name in range(10)], 0
    steps = readings // (ranks * len(names))
    tracemalloc.start()
    began_s, passed = time.process_time(), 0
    for step in range(steps):
        rows = [Reading(name, step * 0.1, step, step * 10**6, semconv.AXIS_TRAINER, sequence + place + 1, "fit", 0,
                        training=1, world_size=ranks) for place, name in enumerate(names)]  # fmt: skip
        sequence += len(names)
        for rank in range(ranks):
            passed += len(merging.add(f"process {rank}", rank, rows, sequence, 0.0))
    took_s = time.process_time() - began_s
    peak_mib = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert passed + merging.waiting == steps * len(names), (passed, merging.waiting)
    return {"us": took_s / (steps * ranks * len(names)) * 1e6, "peak_mib": peak_mib}


def main(size: Size, results: Results) -> None:
    """Run it, print the tables, and leave figures and a plot."""
    measured: dict[str, dict[int, dict[str, float]]] = {
        "names": {names: log(names, size.readings // names) for names in size.names},
        "rows": {rows: log(1, rows) for rows in size.rows},
        "ranks": {ranks: merge(ranks, size.readings) for ranks in size.ranks},
    }
    with results.plot("scale", 3, (11, 3.2)) as panels:
        for axes, (what, found) in zip(panels, measured.items(), strict=True):
            for name, label in (("us", "training" if what != "ranks" else "merge"), ("relay_us", "relay")):
                if name in next(iter(found.values())):
                    axes.plot(list(found), [one[name] for one in found.values()], marker="o", label=label)
            axes.set(xlabel=what, ylabel="microseconds of processor a reading", xscale="log", ylim=(0, None))
            axes.legend()
    results.write("scale", {"readings": size.readings, "results": measured})
    show(results, "names", "rows", "ranks")


if __name__ == "__main__":
    run(main, Size(), smallest=Size(readings=1_000, names=(10,), rows=(1_000,), ranks=(1, 4)))
