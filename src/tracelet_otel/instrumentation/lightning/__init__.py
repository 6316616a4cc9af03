"""Instrumentation of PyTorch Lightning, under both of its package names."""

from tracelet_otel.instrumentation.lightning.instrumentor import LightningInstrumentor

__all__ = ["LightningInstrumentor"]
