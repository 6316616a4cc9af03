"""Imports a package of Lightning, and prints what of it does not fit: a process that the doctor starts."""

from __future__ import annotations

import sys
from importlib import import_module

from tracelet_otel._support.private_names import LIGHTNING, check_package
from tracelet_otel.errors import IncompatibleVersionError


def main(package: str) -> None:
    """Print what is missing; nothing where all is there.

    Args:
        package: import name of the package.
    """
    import_module(package)
    try:
        check_package(LIGHTNING, package)
    except IncompatibleVersionError as error:
        sys.stdout.write(f"{error}\n")


if __name__ == "__main__":
    main(sys.argv[1])
