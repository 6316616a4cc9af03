"""Versions of what is installed, by its metadata."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from opentelemetry.instrumentation.dependencies import get_dependency_conflicts

_FLOOR: Final = re.compile(r">=\s*([\w.]+)$")


def installed(distribution: str) -> str | None:
    """The version of a distribution; None where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def is_met(requirement: str) -> bool:
    """Whether what is installed meets a requirement, as in `click>=8.2`. Pre-releases may meet it, too."""
    # Only a requirement that names a pre-release lets others in.
    return get_dependency_conflicts([_FLOOR.sub(r">=\1.dev0", requirement)]) is None
