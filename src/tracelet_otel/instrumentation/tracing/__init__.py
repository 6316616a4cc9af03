"""The spans of a training: its calls, epochs, validations and checkpoints."""
