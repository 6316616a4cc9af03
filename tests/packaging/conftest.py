from __future__ import annotations

import subprocess
import sys
import tarfile
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from tests.packaging.building import Built, Environment, build, closure
from tests.support import services


@pytest.fixture(scope="session")
def built(pytestconfig: pytest.Config) -> Built:
    """Wheel and sdist of the working tree, and the wheel of that sdist."""

    def make(home: Path) -> dict[str, str]:
        tree = pytestconfig.rootpath
        sdist, wheel = build(tree, home / "tree", "sdist"), build(tree, home / "tree")
        with tarfile.open(sdist) as archive:
            archive.extractall(home / "unpacked", filter="data")
        again = build(home / "unpacked" / sdist.name.removesuffix(".tar.gz"), home / "sdist")
        return {"sdist": str(sdist), "wheel": str(wheel), "wheel_of_sdist": str(again)}

    return Built(**{name: Path(path) for name, path in services.shared("distributions", make).items()})


@pytest.fixture(scope="session")
def plain(built: Built) -> Environment:
    """The wheel without extras in an environment of its own.

    Nothing is fetched: what the wheel declares, and what that declares, are links to the suite's own files. What
    nobody declares is not there.
    """

    def make(home: Path) -> dict[str, str]:
        environment = Environment(home / "environment")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment.home)], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(environment.python)]
        subprocess.run([*pip, "install", "-q", "--no-index", "--no-deps", str(built.wheel)], check=True)
        (wheel,) = Distribution.discover(path=[str(environment.site)])
        for one in closure(wheel):
            for file in one.files or ():
                # Scripts are beside, and belong to the suite's interpreter.
                link = environment.site / file
                if file.parts[0] != ".." and not link.is_symlink():
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(str(file.locate()))
        environment.run(*pip, "check")
        return {"home": str(environment.home)}

    return Environment(Path(services.shared("plain", make)["home"]))
