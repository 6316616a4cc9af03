"""The console process: what a training prints goes through it to where it went before, and is recorded on the way."""
