"""Exporters that send OTLP: to a relay, to a collector, or to a database that accepts it."""
