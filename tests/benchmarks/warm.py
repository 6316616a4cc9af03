"""A benchmark whose Python programs are forked from the warm servers, and whose MLflow is that of the run of tests.

    python -m tests.benchmarks.warm '{"scripts": SOCKET, "relays": SOCKET, "server": URI, "database": PATH}' NAME ...

Most of what a benchmark costs at its smallest size is that each case imports torch and Lightning in a new interpreter.
What the cases do afterwards is what a test of them is about.
"""

from __future__ import annotations

import contextlib
import json
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks import child, servers

from tests.support.warm import WarmProcess


def fork_programs(scripts: str, relays: str) -> None:
    """Have the programs that `benchmarks.child` runs forked by a warm server, and their relays by another.

    Args:
        scripts: path of the socket of the server for programs.
        relays: that of the one for relays.
    """

    def run(command: Sequence[str], *, check: bool, capture_output: bool, **options: Any) -> Any:
        assert command[0] == sys.executable
        assert capture_output
        assert not check
        pipe = subprocess.PIPE
        program = WarmProcess(scripts, command[1:], relays=relays, stdout=pipe, stderr=pipe, **options)
        output, errors = program.communicate()
        return subprocess.CompletedProcess(command, program.wait(), output, errors)

    child.subprocess = SimpleNamespace(**{**vars(subprocess), "run": run})


def use_mlflow(server: str, database: str) -> None:
    """Have a benchmark use a server that runs, and a copy of an empty database that exists.

    Args:
        server: address of the server.
        database: path of the database.
    """

    @contextlib.contextmanager
    def running(_home: Path) -> Iterator[str]:
        yield server

    servers.mlflow_server = running
    servers.mlflow_database = lambda home: Path(shutil.copy(database, home / "empty.db"))


if __name__ == "__main__":
    mlflow = json.loads(sys.argv[1])
    fork_programs(mlflow["scripts"], mlflow["relays"])
    use_mlflow(mlflow["server"], mlflow["database"])
    del sys.argv[:2]
    runpy.run_module(f"benchmarks.{sys.argv[0]}", run_name="__main__", alter_sys=True)
