"""What is imported is declared, and what is declared has been seen."""

from __future__ import annotations

import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.source import FILES, imports

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OF_OTHERS = ("pathlib2", "yaml")
"""ClearML's own, since a path of its kind is what it takes; and that of jsonargparse, whose file is read again."""


@pytest.fixture
def declared(pytestconfig: pytest.Config) -> list[Requirement]:
    """All that the package and its extras ask for."""
    project = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())["project"]
    extras = [one for name, found in project["optional-dependencies"].items() if name != "all" for one in found]
    return [Requirement(one) for one in (*project["dependencies"], *extras)]


def pins(path: Path) -> dict[str, Version]:
    lines = [line for line in path.read_text().splitlines() if "==" in line]
    return {canonicalize_name(line.split("==")[0]): Version(line.split("==")[1]) for line in lines}


@pytest.mark.whole
def test_what_is_imported_is_declared(declared: list[Requirement]) -> None:
    names = {canonicalize_name(one.name) for one in declared}
    found = packages_distributions()
    imported = {name.partition(".")[0] for path in FILES for name in imports(path) if name}
    for module in imported - sys.stdlib_module_names:
        if module not in ("tracelet_otel", *OF_OTHERS):
            assert {canonicalize_name(one) for one in found[module]} & names, module


def test_what_makes_opentelemetry_instrument_do_anything_is_installed_with_the_package(
    pytestconfig: pytest.Config,
) -> None:
    """Without the distro no SDK is configured: the command of the README would train and record nothing."""
    project = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())["project"]
    assert "opentelemetry-distro" in {Requirement(one).name for one in project["dependencies"]}


def test_floors_are_the_versions_of_the_oldest_environment(
    declared: list[Requirement], pytestconfig: pytest.Config
) -> None:
    oldest = pins(pytestconfig.rootpath / "constraints-oldest.txt")
    floors = {
        canonicalize_name(one.name): [Version(part.version) for part in one.specifier if part.operator == ">="]
        for one in declared
    }
    assert floors == {name: [oldest[name]] for name in floors}


def test_the_newest_versions_on_which_private_names_were_seen_are_those_of_the_constraints(
    pytestconfig: pytest.Config,
) -> None:
    from tracelet_otel._support.private_names import COMMAND_LINE, FABRIC, LIGHTNING, OPENTELEMETRY_SDK
    from tracelet_otel.exporters.wandb.private_names import WANDB

    newest = pins(pytestconfig.rootpath / "constraints.txt")
    oldest = pins(pytestconfig.rootpath / "constraints-oldest.txt")
    for library in (LIGHTNING, FABRIC, COMMAND_LINE, OPENTELEMETRY_SDK, WANDB):
        for distribution in library.packages.values():
            assert newest[canonicalize_name(distribution)] == Version(library.newest)
            assert oldest[canonicalize_name(distribution)] == Version(library.oldest)
