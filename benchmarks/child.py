"""One case of a benchmark in a process and a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def environment(**more: str) -> dict[str, str]:
    """Variables of a process that is to use this checkout, whichever the interpreter has installed.

    Args:
        more: variables besides those of this process.
    """
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), **more}


def ended(command: list[str], home: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A program that has run to its end; the benchmark ends where it fails.

    Args:
        command: program and arguments.
        home: a directory that nothing outlives.
        more: variables of its environment.
    """
    own = {"HOME": home, "CLEARML_CACHE_DIR": f"{home}/clearml", "TRACELET_JOURNAL_DIR": f"{home}/journals"}
    child = subprocess.run(command, env=environment(**own | more), capture_output=True, text=True, check=False)
    if child.returncode:
        raise SystemExit(child.stderr)
    return child


def figures(program: list[str], order: dict[str, Any], home: str, **more: str) -> dict[str, float]:
    """What a Python program prints as its last line of JSON; the benchmark ends where it fails.

    Args:
        program: arguments of the interpreter.
        order: the last one, as JSON.
        home: a directory that nothing outlives.
        more: variables of its environment.
    """
    child = ended([sys.executable, *program, json.dumps({**order, "home": home})], home, **more)
    # Some clients go on to print from threads of their own, also behind the figures in their line.
    line = next(one for one in reversed(child.stdout.splitlines()) if one[:1] == "{")
    found: dict[str, float]
    found, _ = json.JSONDecoder().raw_decode(line)
    return found
