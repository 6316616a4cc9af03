"""The part of a run that is in one process of the training."""
