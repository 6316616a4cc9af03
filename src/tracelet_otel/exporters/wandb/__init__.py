"""The tracker for Weights & Biases."""
