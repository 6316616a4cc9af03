"""What ran where and on which code: what a run's resource says beside the run itself."""
