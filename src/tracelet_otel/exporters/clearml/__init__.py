"""The tracker for ClearML, which writes to a server, or to an offline session that can be imported later."""

from typing import Final

from tracelet_otel.exporters.clearml.options import CREDENTIALS, ClearmlOptions
from tracelet_otel.exporters.spec import TrackerSpec

SPEC: Final = TrackerSpec(
    "clearml",
    tracker="tracelet_otel.exporters.clearml.client:ClearmlTracker",
    probe="tracelet_otel.exporters.clearml.probe:probe",
    options=ClearmlOptions,
    package="clearml",
    install="tracelet-otel[clearml]",
    credentials=CREDENTIALS,
)
