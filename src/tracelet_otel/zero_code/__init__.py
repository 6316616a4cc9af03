"""Runs of scripts that have never heard of us: what `opentelemetry-instrument` finds by name."""
