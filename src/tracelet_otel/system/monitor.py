"""Collects metrics of a node's GPU and host while a run goes on, with their own meter provider and reader."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Final, Protocol

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.resources import Resource

from tracelet_otel._support.environment import environment
from tracelet_otel._support.guard import Guard, log
from tracelet_otel.gpu import Passes, observe_gpus
from tracelet_otel.gpu.nvml import prepare as prepare_gpu
from tracelet_otel.protocol.samples import Reader
from tracelet_otel.settings import Settings
from tracelet_otel.system.exporter import SystemExporter
from tracelet_otel.system.filesystem import observe_filesystem
from tracelet_otel.system.host import observe_host
from tracelet_otel.system.host import prepare as prepare_host

_EXTRAS: Final = {"gpu": "pynvml", "system": "opentelemetry.instrumentation.system_metrics"}
"""The module that reads GPU or host, by the extra of this package that installs it."""
_LONGEST_STOP_S: Final = 5.0
"""Seconds that `Hardware.stop` waits. A driver that has lost its device may never answer."""


class Exporters(Protocol):
    """Whatever has the exporters of a run."""

    @property
    def exporters(self) -> Sequence[MetricExporter]:
        """All of them."""
        ...

    @property
    def streams(self) -> Sequence[MetricExporter]:
        """Those that take every metric as it is measured. The others lead to trackers."""
        ...


def hardware_of(
    settings: Settings, exporters: Exporters, identity: Resource, step: Callable[[], int], guard: Guard
) -> Hardware | None:
    """Start reading GPU and host for a run.

    Args:
        settings: settings of the run.
        exporters: exporters of the run.
        identity: resource of the run in this process.
        step: returns the current step of the training.
        guard: where errors are reported.

    Returns:
        None where the settings turn it off, or the run has no exporters.
    """
    if not settings.track_system or not exporters.exporters:
        return None
    if "track_system" in settings.model_fields_set:
        # The user has asked for it explicitly, and so has to know what is not installed.
        _say_missing()
    return Hardware(exporters, identity, settings.metrics_interval, step, guard)


def _say_missing() -> None:
    missing = [extra for extra, module in _EXTRAS.items() if not _is_installed(module)]
    if missing:
        log.warning(
            "track_system=True and not all that it reads with is installed: pip install 'tracelet-otel[%s]'",
            ",".join(missing),
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def prepare() -> None:
    """Import now, on the calling thread, the libraries that read GPU and host."""
    prepare_gpu()
    prepare_host()


class Hardware:
    """Collects metrics of GPU and host when it is created, then at an interval, and when it stops.

    Args:
        exporters: exporters of the run, which outlive this object.
        identity: resource of the run in this process.
        interval_s: seconds between two collections.
        step: returns the current step of the training.
        guard: where errors are reported.
    """

    def __init__(
        self,
        exporters: Exporters,
        identity: Resource,
        interval_s: float,
        step: Callable[[], int],
        guard: Guard,
    ) -> None:
        self._guard = guard
        self._stopped = False
        self._gpus: Passes | None = None
        self._reader = Reader(SystemExporter(exporters.exporters, exporters.streams, step, guard), interval_s)
        provider = MeterProvider([self._reader], identity, shutdown_on_exit=False)
        try:
            self._gpus = observe_gpus(provider, guard, environment())
            observe_host(provider)
            observe_filesystem(provider)
        except Exception as error:
            guard.report("GPU and host are not measured", error)
        # The reader's own thread collects after one interval for the first time. Values that are a share or growth over
        # time, such as CPU utilization, have to be measured from the beginning of the run.
        self._first = threading.Thread(target=self._collect, name="tracelet-hardware", daemon=True)
        self._first.start()

    def stop(self) -> None:
        """Collect a last time and stop. Gives up where a driver does not answer. A second call does nothing."""
        if self._stopped:
            return
        self._stopped = True
        stopping = threading.Thread(target=self._shut_down, name="tracelet-hardware-stop", daemon=True)
        try:
            stopping.start()
        except RuntimeError:
            # At exit some Python versions start no more threads. Then this thread shuts the reader down, with the same
            # time limit.
            self._reader.shutdown(timeout_millis=_LONGEST_STOP_S * 1e3)
            return
        stopping.join(_LONGEST_STOP_S)
        if stopping.is_alive():
            self._guard.report("GPU and host could not be read a last time", f"no answer for {_LONGEST_STOP_S:g} s")

    def _collect(self) -> None:
        try:
            self._reader.collect()
        except Exception as error:
            self._guard.report("GPU and host could not be read", error)

    def _shut_down(self) -> None:
        try:
            self._first.join()
            self._reader.shutdown()
            if self._gpus is not None:
                self._gpus.stop()
        except Exception as error:
            self._guard.report("GPU and host could not be read a last time", error)
