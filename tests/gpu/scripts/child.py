"""A process with the real SDK that observes GPUs and does what it is told, a JSON object a line."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import sys
import threading
import time
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from opentelemetry.instrumentation.distro import DefaultDistro
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader, Metric
from tests.gpu.stand_in import StandIn, machine, preload
from tests.support.waiting import wait_until

from tracelet_otel._support.environment import environment
from tracelet_otel._support.guard import Guard
from tracelet_otel.gpu import GpuInstrumentor, passes
from tracelet_otel.gpu.devices import Devices
from tracelet_otel.gpu.instruments import observe_devices


class Child:
    """What can be asked of this process."""

    def __init__(self, order: dict[str, Any]) -> None:
        if order.get("without_package"):
            sys.modules["pynvml"] = None  # type: ignore[assignment]
        self.now_s = 0.0
        self.guard = Guard()
        self.readers = [InMemoryMetricReader() for _ in range(order.get("readers", 1))]
        self.provider = MeterProvider(self.readers, shutdown_on_exit=False)
        if order.get("observes", True):
            devices = Devices(self.guard, environment, lambda: self.now_s)
            self.passes = observe_devices(self.provider, self.guard, devices)

    def collect(self, reader: int = 0) -> list[dict[str, Any]]:
        data = self.readers[reader].get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        return [_plain(metric, scope.scope.name) for scope in scopes for metric in scope.metrics]

    def collect_in_threads(self, times: int) -> list[int]:
        """How many points each of `times` collections of each reader gave, all readers at once."""
        counts: list[int] = []

        def collect(reader: int) -> None:
            counts.extend(sum(len(metric["points"]) for metric in self.collect(reader)) for _ in range(times))

        threads = [threading.Thread(target=collect, args=(reader,)) for reader in range(len(self.readers))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return counts

    def collect_forked(self) -> list[dict[str, Any]]:
        readable, writable = os.pipe()
        if os.fork() == 0:
            with os.fdopen(writable, "w") as stream:
                json.dump(self.collect(), stream)
            os._exit(0)
        os.close(writable)
        with os.fdopen(readable) as stream:
            result: list[dict[str, Any]] = json.load(stream)
        os.wait()
        return result

    def fork_while_reading(self) -> int | None:
        """How many devices a child reads that is forked in the middle of a pass; None where it comes to no end."""
        thread, nvml = self._begin_pass()
        # What is registered later is called earlier: the driver goes on once the fork has begun.
        os.register_at_fork(before=lambda: nvml.plays(machine(2)))
        pid = os.fork()
        if pid == 0:
            os._exit(len(self.passes.take("child")))
        thread.join()
        try:
            wait_until(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None, 20, "it")
        except AssertionError:
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return None if code < 0 else code

    def fork_while_stuck(self, longest_s: float) -> list[float]:
        """Seconds that two forks take while the driver answers nothing, of which each may wait `longest_s`."""
        passes._LONGEST_FORK_S = longest_s  # type: ignore[misc]
        thread, nvml = self._begin_pass()
        took_s = []
        for _ in range(2):
            began_s = time.monotonic()
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            took_s.append(time.monotonic() - began_s)
            os.waitpid(pid, 0)
        nvml.plays(machine(2))
        thread.join()
        return took_s

    def _begin_pass(self) -> tuple[threading.Thread, StandIn]:
        """A thread that reads from a driver which answers nothing as yet."""
        nvml = StandIn(Path(), Path(os.environ["NVML_STAND_IN"]))
        nvml.plays({"held": 1, **machine(2)})
        before = self.calls("nvmlInitWithFlags")
        thread = threading.Thread(target=self.passes.take, args=("thread",))
        thread.start()
        wait_until(lambda: self.calls("nvmlInitWithFlags") > before, 20, "the pass")
        return thread, nvml

    def calls(self, function: str) -> int:
        return int(ctypes.CDLL("libnvidia-ml.so.1").standInCalls(function.encode()))

    def counts(self) -> dict[str, int]:
        return self.guard.counts

    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    def stop(self) -> None:
        self.passes.stop()

    def resume(self) -> None:
        self.passes.resume()

    def set_environment(self, name: str, value: str) -> None:
        os.environ[name] = value

    def instrument(self) -> None:
        GpuInstrumentor().instrument(meter_provider=self.provider)

    def load(self) -> None:
        """As `opentelemetry-instrument` does it, with the provider that a configurator has set."""
        set_meter_provider(self.provider)
        entry_point = EntryPoint("nvidia_gpu", "tracelet_otel.gpu:GpuInstrumentor", "opentelemetry_instrumentor")
        DefaultDistro().load_instrumentor(entry_point, skip_dep_check=True)

    def uninstrument(self) -> None:
        GpuInstrumentor().uninstrument()

    def imported(self, *names: str) -> list[str]:
        return [name for name in names if name in sys.modules]


def _plain(metric: Metric, scope: str) -> dict[str, Any]:
    data = metric.data
    kind = "gauge" if isinstance(data, Gauge) else "counter" if data.is_monotonic else "up-down counter"  # type: ignore[union-attr]
    points = [{"attributes": dict(point.attributes or {}), "value": point.value} for point in data.data_points]  # type: ignore[union-attr]
    return {"scope": scope, "name": metric.name, "unit": metric.unit, "kind": kind, "points": points}


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("tracelet_otel").setLevel(logging.DEBUG)
    preload()
    child = Child(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        name, arguments = json.loads(line)
        sys.stdout.write(json.dumps(getattr(child, name)(*arguments)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
