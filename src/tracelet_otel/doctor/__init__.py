"""Looks for what is wrong, and says how it is mended: `tracelet-otel doctor`.

A check returns a `Chapter` (`findings.py`); `report.py` has the list of checks, and writes what they have found.
"""
