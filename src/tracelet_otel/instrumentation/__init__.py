"""From training code to OpenTelemetry instruments."""
