"""A training that exports seldom, and is killed right after its start."""

import os
import signal

import tracelet_otel as tracelet

run = tracelet.start_logging("seldom", config={"export_interval": 1000})
os.kill(os.getpid(), signal.SIGKILL)
