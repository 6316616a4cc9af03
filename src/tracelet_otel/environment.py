"""This process's environment: the one file that reads or changes it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

_HANDOVER: Final = "TRACELET_HANDOVER"


def environment() -> dict[str, str]:
    """A copy of this process's environment."""
    return dict(os.environ)


def set_environment_defaults(values: Mapping[str, str]) -> None:
    """Say what libraries read from the environment, where it says nothing: for processes of our own only."""
    for name, value in values.items():
        os.environ.setdefault(name, value)


def take_handover() -> str | None:
    """What the process that started this one as a rank has left in its environment; it is gone then."""
    return os.environ.pop(_HANDOVER, None)


def set_handover(value: str | None) -> None:
    """Leave something in the environment for processes that are started as ranks, or take it out."""
    if value is None:
        os.environ.pop(_HANDOVER, None)
    else:
        os.environ[_HANDOVER] = value


def sdk_disabled() -> bool:
    """Whether OTEL_SDK_DISABLED turns the SDK off, which leaves nothing to record with."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
