"""The packages that are installed, as a file of requirements."""

from __future__ import annotations

import importlib.metadata
import os
import sys

import pytest

from tracelet_otel.resource import packages
from tracelet_otel.resource.packages import installed_packages


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The only directory of packages."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


def install(site, name, version):
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_it_has_what_is_installed():
    lines = installed_packages().splitlines()
    assert lines == sorted(lines, key=lambda line: line.partition("==")[0].lower().replace("_", "-").replace(".", "-"))
    assert f"pydantic=={importlib.metadata.version('pydantic')}" in lines
    assert len(lines) == len({line.lower() for line in lines})


def test_what_an_import_finds_counts_and_what_is_broken_is_left_out(site, tmp_path_factory, monkeypatch):
    later = tmp_path_factory.mktemp("later")
    monkeypatch.setattr(sys, "path", [str(site), str(later), str(site / "absent")])
    install(site, "B-Package", "1.0")
    install(later, "b_package", "2.0")
    install(later, "a", "3")
    (site / "broken-1.0.dist-info").mkdir()
    assert installed_packages() == "a==3\nB-Package==1.0\n"


def test_nothing_is_read_again_as_long_as_nothing_was_installed(site, monkeypatch):
    install(site, "a", "1")
    first = installed_packages()
    monkeypatch.setattr(packages, "distributions", lambda: pytest.fail("it was read again"))
    assert installed_packages() is first
    monkeypatch.undo()


def test_what_was_installed_meanwhile_is_there(site):
    install(site, "a", "1")
    assert installed_packages() == "a==1\n"
    install(site, "b", "1")
    os.utime(site, ns=(1, 1))  # the clock of a filesystem may be coarse
    assert installed_packages() == "a==1\nb==1\n"
