"""What the kernel of this machine can tell."""

from __future__ import annotations

import os
import re

_KEEPS_STATUS = (6, 15)


def keeps_exit_status() -> bool:
    """Whether it keeps the exit status of a process for one that is not its parent."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return found is not None and (int(found[1]), int(found[2])) >= _KEEPS_STATUS
