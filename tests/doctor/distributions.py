"""Packages as they are installed, or not, where a test says so."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import importlib_metadata
import pytest


def install(monkeypatch: pytest.MonkeyPatch, home: Path, name: str, version: str, entry_points: str = "") -> None:
    """Put the metadata of a distribution before all others.

    Args:
        monkeypatch: takes it away again.
        home: directory for it.
        name: name of the distribution.
        version: its version.
        entry_points: content of its file of entry points.
    """
    metadata = home / "packages" / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    monkeypatch.syspath_prepend(str(metadata.parent))


def uninstall(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have distributions not found."""
    # OpenTelemetry asks the backport.
    for module in (importlib.metadata, importlib_metadata):
        monkeypatch.setattr(module.Distribution, "discover", _others(module.Distribution.discover, names))


def _others(discover: Callable[..., Iterable[Any]], names: tuple[str, ...]) -> Callable[..., Iterable[Any]]:
    return lambda **kwargs: (one for one in discover(**kwargs) if one.name not in names)
