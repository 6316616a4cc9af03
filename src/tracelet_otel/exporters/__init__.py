"""From OpenTelemetry's metric stream to experiment trackers.

`reading` translates, `tracker` delivers, and each tracker has a file of its own.
"""
