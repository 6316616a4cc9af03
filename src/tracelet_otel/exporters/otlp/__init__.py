"""OTLP: any collector, or a database that speaks it."""
