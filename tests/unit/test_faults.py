"""The stack that a process leaves: `faulthandler` is enabled where nobody else wants it, and put back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("scripts") / "faults.py"

CASES = [
    "put back",
    "enabled before",
    "enabled after",
    "disabled after",
    "handled before",
    "handled after",
    "forked",
    "forked, with one of its own",
]


@pytest.mark.parametrize("case", CASES)
def test_faulthandler_is_as_it_was(tmp_path, case):
    # In an interpreter of its own: this one has the `faulthandler` of pytest.
    child = subprocess.run([sys.executable, SCRIPT, case, tmp_path], capture_output=True, text=True, check=False)
    assert (child.returncode, child.stderr) == (0, "")
