"""Prepares a run that never begins, and has a forked child that lives on, which says when it is there."""

from __future__ import annotations

import os
import sys

import tracelet_otel

tracelet_otel.prepare_logging()
if os.fork() == 0:
    os.write(1, b"forked\n")
    sys.stdin.readline()
    os._exit(0)
sys.stdin.readline()
