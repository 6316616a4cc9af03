"""The process in which trackers live: outside of the training, fed by OTLP over loopback."""
