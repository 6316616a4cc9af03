"""What hatchling makes of a tree, and an environment that has it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@dataclass(frozen=True)
class Built:
    """What hatchling has made of a tree."""

    sdist: Path
    wheel: Path
    wheel_of_sdist: Path


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the wheel, what it declares, and nothing else: not even pip."""

    home: Path

    @property
    def python(self) -> Path:
        return self.home / "bin/python"

    @property
    def site(self) -> Path:
        return next((self.home / "lib").glob("python*/site-packages"))

    def run(self, *command: str | Path) -> str:
        """What a command prints; it sees nothing of the suite's own environment."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        child = subprocess.run(command, cwd=self.home, env=kept, capture_output=True, text=True, check=False)
        assert child.returncode == 0, child.stdout + child.stderr
        return child.stdout


def build(tree: Path, directory: Path, target: str = "wheel") -> Path:
    """Make a `wheel` or an `sdist` of a tree."""
    # In the suite's environment: one of its own would have to be fetched.
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(directory)]
    child = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stdout + child.stderr
    (made,) = directory.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return made


def closure(top: Distribution) -> list[Distribution]:
    """All that a distribution without extras asks for, itself left out."""
    found: dict[str, Distribution] = {}
    seen = set()
    wanted = [(top, frozenset[str]())]
    while wanted:
        one, extras = wanted.pop()
        for requirement in map(Requirement, one.requires or ()):
            key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
            if key not in seen and _is_asked_for(requirement, extras):
                seen.add(key)
                found[key[0]] = distribution(requirement.name)
                wanted.append((found[key[0]], key[1]))
    return list(found.values())


def _is_asked_for(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))
