"""The tracker for ClearML."""
