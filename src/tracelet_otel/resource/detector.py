"""A resource detector: who this process is, under anybody's SDK configuration.

`OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=tracelet` asks for it. It runs before the script does, and neither
waits nor imports much.
"""

from __future__ import annotations

from opentelemetry.sdk.resources import Resource, ResourceDetector

from tracelet_otel._support.environment import environment
from tracelet_otel._support.guard import Guard
from tracelet_otel.resource.process import process_identity


class TraceletResourceDetector(ResourceDetector):
    """Detects the run that the environment names, this process's rank, and what runs where on which code."""

    def detect(self) -> Resource:
        """What is known; never raises."""
        guard = Guard()
        try:
            return Resource(process_identity(environment(), guard))
        except Exception as error:
            guard.report("nothing is known of this process", error)
            return Resource.get_empty()
