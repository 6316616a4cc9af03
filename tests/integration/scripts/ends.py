"""A script that records one value, never stops its run and ends as it is told: `ends.py HOW`."""

import sys

import tracelet_otel as tracelet

tracelet.start_logging().log_metric("loss", 1.0, 0)
match sys.argv[1]:
    case "error":
        raise ValueError("a bug")
    case "interrupt":
        raise KeyboardInterrupt
    case code:
        sys.exit(int(code))
