"""A resource detector that adds the identity of this process to the resource of any SDK configuration.

`OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=tracelet` turns it on. It runs before the script does, so it must neither
wait long nor import much.
"""

from __future__ import annotations

from opentelemetry.sdk.resources import Resource, ResourceDetector

from tracelet_otel._support.environment import environment
from tracelet_otel._support.guard import Guard
from tracelet_otel.resource.process import process_identity


class TraceletResourceDetector(ResourceDetector):
    """Detects the run that the environment names, the rank of this process, its host, software and code."""

    def detect(self) -> Resource:
        """Return what is known of this process. Never raises: an error is reported, and the resource is empty."""
        guard = Guard()
        try:
            return Resource(process_identity(environment(), guard))
        except Exception as error:
            guard.report("nothing is known of this process", error)
            return Resource.get_empty()
