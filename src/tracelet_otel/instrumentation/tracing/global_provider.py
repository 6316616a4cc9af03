"""Exports spans by the tracer provider that somebody else has configured, as `opentelemetry-instrument` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.trace import get_tracer_provider

from tracelet_otel.protocol.samples import active_span_processor
from tracelet_otel.protocol.spans import FinishedSpan, Trace, is_sampled, readable


class GlobalSpans:
    """Hands spans to the processors of the global tracer provider; does nothing where that is not the SDK's.

    Its own generator of ids is not asked: by default that draws from Python's global random generator.

    Args:
        attributes: returns attributes of this process that the provider's resource may lack.
    """

    def __init__(self, attributes: Callable[[], Mapping[str, Any]]) -> None:
        self._attributes = attributes
        self._pid = os.getpid()

    def export(self, spans: list[FinishedSpan], trace: Trace) -> None:
        """Pass spans on; the processors decide when they are sent."""
        provider = get_tracer_provider()
        processor = active_span_processor(provider)
        if processor is None or not isinstance(provider, SdkTracerProvider) or os.getpid() != self._pid:
            return
        if is_sampled(trace, provider.sampler):
            resource = Resource(self._attributes()).merge(provider.resource)
            for span in readable(spans, trace, resource):
                processor.on_end(span)
