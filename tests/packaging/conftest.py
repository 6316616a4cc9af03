from __future__ import annotations

import subprocess
import sys
import tarfile
from importlib.metadata import Distribution

import pytest

from tests.packaging.building import Built, Environment, build, closure


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Built:
    """Wheel and sdist of the working tree, and the wheel of that sdist."""
    home = tmp_path_factory.mktemp("built")
    sdist, wheel = build(pytestconfig.rootpath, home / "tree", "sdist"), build(pytestconfig.rootpath, home / "tree")
    with tarfile.open(sdist) as archive:
        archive.extractall(home / "unpacked", filter="data")
    return Built(sdist, wheel, build(home / "unpacked" / sdist.name.removesuffix(".tar.gz"), home / "sdist"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, built: Built) -> Environment:
    """The wheel without extras in an environment of its own.

    Nothing is fetched: what the wheel declares, and what that declares, are links to the suite's own files. What
    nobody declares is not there.
    """
    environment = Environment(tmp_path_factory.mktemp("plain"))
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
    return environment
