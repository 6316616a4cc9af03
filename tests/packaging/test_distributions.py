"""What is built has all of the package and nothing else, and needs no more than it declares."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packaging.building import Built, Environment

IMPORTS_ALL = """
import importlib, json, pkgutil, tracelet_otel
failed = {}
for module in pkgutil.walk_packages(tracelet_otel.__path__, "tracelet_otel."):
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        failed[module.name] = str(error)
print(json.dumps({"from": tracelet_otel.__file__, "failed": failed}))
"""
LOADS_ENTRY_POINTS = """
from importlib.metadata import distribution
for entry_point in distribution("tracelet-otel").entry_points:
    entry_point.load()
    print(entry_point.group, entry_point.name)
"""
STARTS = """
import tracelet_otel
try:
    tracelet_otel.start_logging()
except tracelet_otel.MissingDependencyError as error:
    print(error)
"""


@pytest.fixture
def kept(pytestconfig: pytest.Config) -> set[str]:
    """Files of the working tree that git has, or would take."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=pytestconfig.rootpath, capture_output=True, text=True, check=True).stdout
    return {name for name in names.split("\0") if (pytestconfig.rootpath / name).is_file()}


def names_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def record_of(wheel: Path) -> str:
    """Names, sizes and hashes of what is in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
        return archive.read(name).decode()


def test_a_wheel_has_the_package_and_nothing_else(built: Built, kept: set[str]) -> None:
    package = {name.removeprefix("src/") for name in kept if name.startswith("src/tracelet_otel/")}
    # Beside the package, where the interpreter reads it at its start.
    package.add("tracelet_otel_workers.pth")
    about = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    stem = "-".join(built.wheel.name.split("-")[:2])
    assert "tracelet_otel/py.typed" in package
    assert names_of(built.wheel) == package | {f"{stem}.dist-info/{name}" for name in about}


def test_an_sdist_has_all_that_is_kept_but_the_scripts_of_ci(built: Built, kept: set[str]) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names == {name for name in kept if not name.startswith(".ci/")} | {"PKG-INFO"}


def test_a_wheel_of_the_sdist_is_the_same(built: Built) -> None:
    assert record_of(built.wheel_of_sdist) == record_of(built.wheel)


def test_what_is_declared_is_enough_to_import_each_module(plain: Environment) -> None:
    said = json.loads(plain.run(plain.python, "-c", IMPORTS_ALL))
    assert Path(said["from"]).is_relative_to(plain.site)
    # It is for who writes a tracker, and has an extra of its own.
    assert said["failed"] == {"tracelet_otel.testing": "No module named 'pytest'"}


def test_the_command_and_all_entry_points_are_there(plain: Environment) -> None:
    command = plain.home / "bin/tracelet-otel"
    assert {"relay", "replay"} <= set(plain.run(command, "--help").split())
    version = next(plain.site.glob("tracelet_otel-*.dist-info")).name.removesuffix(".dist-info").partition("-")[2]
    assert plain.run(command, "--version").split()[-1] == version
    found = plain.run(plain.python, "-c", LOADS_ENTRY_POINTS).splitlines()
    assert sorted(found) == [
        "console_scripts tracelet-otel",
        "opentelemetry_instrumentor lightning",
        "opentelemetry_instrumentor nvidia_gpu",
        "opentelemetry_metrics_exporter clearml",
        "opentelemetry_metrics_exporter mlflow",
        "opentelemetry_metrics_exporter tracelet",
        "opentelemetry_metrics_exporter wandb",
        "opentelemetry_resource_detector tracelet",
        "tracelet_otel.trackers clearml",
        "tracelet_otel.trackers mlflow",
        "tracelet_otel.trackers wandb",
    ]


def test_a_backend_without_its_extra_is_named_with_the_command_that_installs_it(plain: Environment) -> None:
    assert "pip install 'tracelet-otel[mlflow]'" in plain.run(plain.python, "-c", STARTS)


def test_an_installed_package_is_typed(plain: Environment, tmp_path: Path) -> None:
    """Without `py.typed` a checker of types would read none of it."""
    uses = shutil.copy(Path(__file__).with_name("public_api.py"), plain.home)
    options = ["--strict", "--config-file=", "--python-executable", plain.python, "--cache-dir", tmp_path]
    assert "no issues found" in plain.run(sys.executable, "-m", "mypy", *options, uses)
