"""The command line that all benchmarks share.

    python -m benchmarks.NAME [--smallest] [--results DIRECTORY] [--NAME VALUE]

What a benchmark does more or less of is its size: a frozen dataclass. Each number and text in it is an option.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from benchmarks.results import KEPT, Results

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Size = TypeVar("Size", bound="DataclassInstance")


def run(main: Callable[[Size, Results], None], full: Size, smallest: Size) -> None:
    """Run a benchmark as the command line says.

    Args:
        main: the benchmark. It gets its size, and the directory in which it leaves its figures.
        full: the size that the documents show.
        smallest: the least work that still reaches every line that matters. A test runs it; its figures say nothing.
    """
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smallest", action="store_true", help="the least work that runs all of the code")
    parser.add_argument(
        "--results",
        type=Path,
        metavar="DIRECTORY",
        help="where figures and plots go; by default benchmarks/results, and of the smallest size nowhere",
    )
    values = {
        one.name: value for one in fields(full) if isinstance(value := getattr(full, one.name), int | float | str)
    }
    for name, value in values.items():
        instead = (value or "nothing") if isinstance(value, str) else f"{value:,}"
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), help=f"in place of {instead}")
    told = parser.parse_args()
    chosen = {name: getattr(told, name) for name in values if getattr(told, name) is not None}
    # Who is ended ends the servers that it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as nowhere:
        kept = told.results or (nowhere if told.smallest else KEPT.directory)
        main(replace(smallest if told.smallest else full, **chosen), Results(Path(kept)))
