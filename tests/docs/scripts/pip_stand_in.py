"""`pip install REQUIREMENT ...` that installs nothing: it fails where a requirement is not what is installed here."""

import sys
from importlib.metadata import PackageNotFoundError, metadata

from packaging.requirements import Requirement


def main(command: str, *arguments: str) -> None:
    if command != "install":
        sys.exit(f"pip {command} is not known here")
    for one in (Requirement(argument) for argument in arguments if not argument.startswith("-")):
        try:
            found = metadata(one.name)
        except PackageNotFoundError:
            sys.exit(f"{one.name} is not installed here, so nobody can say that this works")
        if not one.specifier.contains(found["Version"]):
            sys.exit(f"{one} is not the {found['Version']} that is tested")
        if unknown := one.extras - set(found.get_all("Provides-Extra") or ()):
            sys.exit(f"{one.name} has no extra {', '.join(unknown)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
