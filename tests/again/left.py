"""What attempts leave for those that follow."""

from __future__ import annotations

import json
from pathlib import Path

from tracelet_otel.resource.attempts import SUFFIX, Attempt


def last_attempt(home: Path, journals: str = "journals") -> Attempt | None:
    """What is known of the last attempt at the only run below a directory; None as long as there is none."""
    for path in (home / journals).glob(f"*{SUFFIX}"):
        return Attempt(**json.loads(path.read_text()))
    return None
