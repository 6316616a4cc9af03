"""Records scripts that do not import this package: `opentelemetry-instrument` loads the exporters by their names."""
