"""Turns what training code logs and does into OpenTelemetry instruments."""
