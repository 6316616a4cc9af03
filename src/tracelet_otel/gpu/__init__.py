"""Metrics of NVIDIA GPUs, after OpenTelemetry's hardware conventions."""

from __future__ import annotations

from tracelet_otel.gpu.instrumentor import GpuInstrumentor
from tracelet_otel.gpu.instruments import observe_gpus
from tracelet_otel.gpu.passes import Passes

__all__ = ["GpuInstrumentor", "Passes", "observe_gpus"]
