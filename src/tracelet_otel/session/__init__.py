"""What one process does for a run, in the training."""
