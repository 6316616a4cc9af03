"""A process that exports to an endpoint under the SDK and ends without a word: `never_ends.py ENDPOINT`."""

import sys

from opentelemetry.sdk.metrics import MeterProvider
from tests.support.sdk import exported, reader

from tracelet_otel.exporters.otlp.exporter import collector_exporter

exporter = collector_exporter(sys.argv[1])
provider = MeterProvider([reader(exporter)])
exporter.export(exported([{"a": 1.0}]))
