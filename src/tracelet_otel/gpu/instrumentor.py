"""Observes GPUs under `opentelemetry-instrument`, or wherever somebody else has configured the SDK."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.metrics import MeterProvider, get_meter_provider
from wrapt import register_post_import_hook

from tracelet_otel._support.environment import environment
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.private_names import LIGHTNING
from tracelet_otel._support.spawned import is_started_by_multiprocessing
from tracelet_otel.gpu.devices import Devices
from tracelet_otel.gpu.instruments import observe_devices
from tracelet_otel.gpu.nvml import prepare
from tracelet_otel.gpu.passes import Passes
from tracelet_otel.resource.rank_info import is_first_of_node, rank_info_of


class GpuInstrumentor(BaseInstrumentor):
    """Observes the GPUs of a node from one process of that node, once this process has imported Lightning.

    `instrument` takes a `meter_provider` (default: the global one).
    """

    def __init__(self) -> None:
        # The base class is a singleton: constructing it a second time must not reset its state.
        if not hasattr(self, "_observed"):
            self._observed: WeakKeyDictionary[MeterProvider, Passes] = WeakKeyDictionary()

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return no dependencies: a machine without NVML has no GPU to observe, which is not an error."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        if not is_first_of_node(rank_info_of(environment())):
            return
        meter_provider = kwargs.get("meter_provider") or get_meter_provider()
        passes = self._observed.get(meter_provider)
        if passes is None:
            guard = Guard()
            # The environment is read when GPUs are opened: scripts choose their GPUs after this code has been loaded.
            devices = Devices(guard, environment)
            self._observed[meter_provider] = observe_devices(meter_provider, guard, devices, _may_train)
            for package in LIGHTNING.packages:
                register_post_import_hook(lambda _: prepare(), package)
        else:
            passes.resume()

    def _uninstrument(self, **kwargs: Any) -> None:
        for passes in self._observed.values():
            passes.stop()


def _may_train() -> bool:
    """Whether this process may train.

    Its worker processes and scripts without Lightning are instrumented too, but must not read GPUs.
    """
    return not is_started_by_multiprocessing() and any(name in sys.modules for name in LIGHTNING.packages)
