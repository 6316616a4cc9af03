"""Metrics of a node's GPU and host, read while a run goes on."""
