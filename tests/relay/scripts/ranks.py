"""Ranks that nobody trains, with the real recorder, SDK and sender: `ranks.py ORDER`, with the order as JSON.

Each writes what it logs to a file of its own before it logs it. What went wrong is printed at the end, by rank as JSON.
"""

import json
import os
import platform
import random
import sys
import threading
import time
from pathlib import Path

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.own_run import Participation
from tracelet_otel.instrumentation.recorder import Row
from tracelet_otel.instrumentation.signals import make_signals
from tracelet_otel.protocol import samples
from tracelet_otel.session.calls import Address
from tracelet_otel.session.transport import relay_exporter


class Trainer:
    """What is reported of one."""

    global_step = current_epoch = 0


class Rank:
    """One rank of the run."""

    def __init__(self, order, number):
        self._number, self._order = number, order
        self._random = random.Random(f"{order['seed']} {number}")
        self._file = Path(order["home"], f"rank {number}")
        self.guard = Guard()
        address = Address(order["endpoint"], order["token"])
        exporter = relay_exporter(lambda: address, lambda: None, self.guard)
        limits = samples.cardinality_limits()
        reader = samples.Reader(exporter, order["export_interval_s"], cardinality_limits=limits)
        resource = {
            semconv.RUN_ID: order["run_id"],
            semconv.RUN_NAME: "chaos",
            semconv.PROJECT_NAME: "Default",
            semconv.RANK: number,
            semconv.SERVICE_INSTANCE_ID: f"{number}",
            semconv.HOST_NAME: platform.node(),
            semconv.PROCESS_PID: os.getpid(),
        }
        self._provider = MeterProvider([reader], Resource(resource), shutdown_on_exit=False)
        self._signals = make_signals(self._provider, self.guard, 10, Participation(owns_run=number == 0))
        self._trainer = Trainer()
        self._signals.progress.watch(self._trainer, lambda trainer: trainer.global_step)

    def log(self, step):
        """Log a row: some names every rank has, one only every fourth rank, and one comes every tenth step."""
        names = ["loss", "accuracy"]
        names += ["of some"] if self._number % 4 == 0 else []
        names += ["rarely"] if step % 10 == 0 else []
        self._random.shuffle(names)
        values = {name: float(self._random.getrandbits(40)) for name in names}
        with self._file.open("a") as file:
            file.write(json.dumps([step, values]) + "\n")
        world_size = self._order["world_size"]
        self._signals.recorder.record(Row(time.time_ns(), values, step, semconv.AXIS_TRAINER, "fit", 0, 1, world_size))

    def end(self):
        """Say that the training has ended well, and send all that is left."""
        self._signals.outcome.settle("finished", None)
        self._signals.outcome.end()
        self._provider.shutdown(60_000)


def main(order):
    ranks = {number: Rank(order, number) for number in range(order["first"], order["last"])}
    began_s = time.monotonic()
    for step in range(order["rows"]):
        time.sleep(max(began_s + step * order["row_s"] - time.monotonic(), 0))
        for rank in ranks.values():
            rank.log(step)
    ends = [threading.Thread(target=rank.end) for rank in ranks.values()]
    for end in ends:
        end.start()
    for end in ends:
        end.join()
    print(json.dumps({number: rank.guard.counts for number, rank in ranks.items()}))


main(json.loads(sys.argv[1]))
