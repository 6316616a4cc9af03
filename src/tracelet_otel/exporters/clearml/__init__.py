"""ClearML: a server, or an offline session that can be imported."""

from typing import Final

from tracelet_otel.exporters.clearml.options import CREDENTIALS, ClearmlOptions
from tracelet_otel.exporters.spec import TrackerSpec

SPEC: Final = TrackerSpec(
    "clearml",
    tracker="tracelet_otel.exporters.clearml.client:ClearmlTracker",
    options=ClearmlOptions,
    package="clearml",
    install="tracelet-otel[clearml]",
    credentials=CREDENTIALS,
)
