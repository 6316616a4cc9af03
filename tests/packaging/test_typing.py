"""What users of types are promised: `public_api.py` is read by `make check`, what is refused is seen here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

WRONG_USES = Path(__file__).with_name("wrong_uses.py")
_MARK = re.compile(r"  # refused: ([\w-]+)$")
_ERROR = re.compile(r"^[^:]+:(\d+): error: .*\[([\w-]+)\]$", re.MULTILINE)


def test_wrong_uses_are_refused_and_nothing_else_is(pytestconfig: pytest.Config) -> None:
    lines = WRONG_USES.read_text().splitlines()
    marked = [(number, found[1]) for number, line in enumerate(lines, 1) if (found := _MARK.search(line))]
    # With the configuration and the cache of `make check`.
    command = [sys.executable, "-m", "mypy", "--no-pretty", WRONG_USES.relative_to(pytestconfig.rootpath)]
    child = subprocess.run(command, cwd=pytestconfig.rootpath, capture_output=True, text=True, check=False)
    assert child.stderr == ""
    assert [(int(line), code) for line, code in _ERROR.findall(child.stdout)] == marked, child.stdout
