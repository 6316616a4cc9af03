"""GPU readings as observable instruments, one for each metric."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from opentelemetry.metrics import CallbackOptions, CallbackT, MeterProvider, Observation

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.gpu.devices import Devices
from tracelet_otel.gpu.metrics import METRICS, Kind, Metric, observations
from tracelet_otel.gpu.nvml import prepare
from tracelet_otel.gpu.passes import Passes


def observe_gpus(meter_provider: MeterProvider, guard: Guard, environment: Mapping[str, str]) -> Passes:
    """Create instruments that observe, at each collection, the GPUs that this process may use.

    NVML is not used before the first collection.

    Args:
        meter_provider: where the instruments are created.
        guard: where failures are reported.
        environment: environment variables, which say which GPUs are visible.

    Returns:
        The object that stops and resumes observing.
    """
    prepare()
    pid = os.getpid()
    return observe_devices(meter_provider, guard, Devices(guard, lambda: environment), lambda: os.getpid() == pid)


def observe_devices(
    meter_provider: MeterProvider, guard: Guard, devices: Devices, is_wanted: Callable[[], bool] = lambda: True
) -> Passes:
    """Create instruments that observe devices at each collection.

    To be called once for each provider: it accepts no second callback for an instrument's name.

    Args:
        meter_provider: where the instruments are created.
        guard: where failures are reported.
        devices: the devices to read.
        is_wanted: called before each pass; where it returns False, no device is read.

    Returns:
        The object that stops and resumes observing.
    """
    passes = Passes(devices, is_wanted)
    meter = meter_provider.get_meter(semconv.SCOPE_GPU)
    create = {
        Kind.GAUGE: meter.create_observable_gauge,
        Kind.COUNTER: meter.create_observable_counter,
        Kind.UP_DOWN_COUNTER: meter.create_observable_up_down_counter,
    }
    for metric in METRICS:
        create[metric.kind](
            metric.name,
            callbacks=[_callback(metric, passes, guard)],
            unit=metric.unit,
            description=metric.description,
        )
    return passes


def _callback(metric: Metric, passes: Passes, guard: Guard) -> CallbackT:
    def observe(_options: CallbackOptions) -> list[Observation]:
        try:
            return [point for reading in passes.take(metric.name) for point in observations(metric, reading)]
        except Exception as error:
            guard.report(f"{metric.name} could not be observed", error)
            return []

    return observe
