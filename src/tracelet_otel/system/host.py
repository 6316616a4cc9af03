"""Metrics of the host: a selection of `opentelemetry-instrumentation-system-metrics`. The only file that imports it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import psutil
from opentelemetry.metrics import MeterProvider

from tracelet_otel._support.guard import log

_PROCESSOR_STATES: Final = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"]
_CHOSEN: Final[Mapping[str, list[str] | None]] = {
    "process.cpu.time": ["user", "system"],
    "process.memory.usage": None,
    "process.thread.count": None,
    "system.cpu.time": _PROCESSOR_STATES,
    "system.memory.usage": ["used", "free", "cached"],
    "system.memory.utilization": ["used", "free", "cached"],
    "system.disk.io": ["read", "write"],
    "system.network.io": ["receive", "transmit"],
}
"""Metrics and their states. No CPU utilization: the first value of each thread would be 0, and mean nothing."""
_PROBES: Final[Mapping[str, Callable[[], Any]]] = {
    "system.cpu.time": lambda: psutil.cpu_times(percpu=True),
    "system.memory.usage": psutil.virtual_memory,
    "system.memory.utilization": psutil.virtual_memory,
    "system.disk.io": lambda: psutil.disk_io_counters(perdisk=True).items(),
    "system.network.io": lambda: psutil.net_io_counters(pernic=True).items(),
}
"""By metric, a call that raises where the metric cannot be read on this machine."""


def prepare() -> None:
    """Import the instrumentation now, on the calling thread, where the extra `system` is installed."""
    with contextlib.suppress(ImportError):
        import opentelemetry.instrumentation.system_metrics  # noqa: F401


def observe_host(meter_provider: MeterProvider) -> None:
    """Create instruments for this process and its host; none where the extra `system` is not installed.

    The same instrumentation by somebody else is left as it is.

    Args:
        meter_provider: where the instruments are created.
    """
    try:
        from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
    except ImportError as error:
        log.debug("the host is not measured: %s; pip install 'tracelet-otel[system]'", error)
        return

    class OwnInstrumentor(SystemMetricsInstrumentor):  # type: ignore[misc, unused-ignore]
        # The instrumentor is a singleton. Constructing it again changes what it measures for whoever constructed it
        # first, and their callbacks then fail. So this class makes an instance of its own.
        _instance = None

        def __new__(cls, *_args: Any, **_kwargs: Any) -> Any:
            return object.__new__(cls)

    OwnInstrumentor(config=_readable()).instrument(skip_dep_check=True, meter_provider=meter_provider)


def _readable() -> dict[str, list[str] | None]:
    """Return the chosen metrics that can be read here: for others the SDK would log an exception at each collection."""
    readable: dict[str, list[str] | None] = {}
    for name, states in _CHOSEN.items():
        try:
            _PROBES.get(name, lambda: None)()
        except Exception as error:
            log.debug("%s is not measured here: %s", name, error)
        else:
            readable[name] = states
    return readable
