"""Every name, unit and attribute that this package emits, and nothing else.

Names without the prefix `tracelet.` are those of the OpenTelemetry semantic conventions; they are
spelled out here where the conventions package marks them as incubating.
"""

from __future__ import annotations

from tracelet_otel.semconv.hardware import *  # noqa: F403
from tracelet_otel.semconv.identity import *  # noqa: F403
from tracelet_otel.semconv.relay import *  # noqa: F403
from tracelet_otel.semconv.time import *  # noqa: F403
from tracelet_otel.semconv.traces import *  # noqa: F403
from tracelet_otel.semconv.training import *  # noqa: F403
