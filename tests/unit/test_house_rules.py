"""Rules of the house that a program can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.source import FILES, SOURCE, imports


def importers(*packages: str) -> list[str]:
    return [
        path.relative_to(SOURCE).as_posix()
        for path in FILES
        if any(name == package or name.startswith(f"{package}.") for name in imports(path) for package in packages)
    ]


def test_sdk_internals_are_touched_in_one_file():
    internal = [
        path.relative_to(SOURCE).as_posix()
        for path in FILES
        if any("._internal" in name or ".sdk.metrics._" in name for name in imports(path))
    ]
    assert internal == ["protocol/samples.py"]


TRACKERS = ("mlflow", "wandb", "clearml")


@pytest.mark.parametrize("package", TRACKERS)
def test_each_tracker_is_imported_in_its_folder(package):
    assert {str(Path(importer).parent) for importer in importers(package)} == {f"exporters/{package}"}


def test_nvml_is_imported_in_its_one_file():
    assert importers("pynvml") == ["gpu/nvml.py"]


def test_dulwich_is_imported_in_its_one_file():
    assert importers("dulwich") == ["resource/repository.py"]


def test_neither_lightning_nor_torch_is_imported():
    assert importers("lightning", "pytorch_lightning", "torch") == []


def test_the_environment_is_read_in_its_one_file():
    readers = [path.relative_to(SOURCE).as_posix() for path in FILES if "os.environ" in path.read_text()]
    assert readers == ["_support/environment.py"]


def test_importing_the_package_imports_nothing_heavy():
    script = """
import sys, tracelet_otel, tracelet_otel.instrumentation.lightning, tracelet_otel.gpu, tracelet_otel.resource.detector
heavy = {
    "torch", "lightning", "pytorch_lightning", "mlflow", "wandb", "clearml", "pydantic", "numpy", "pynvml", "dulwich"
}
print(sorted(heavy & set(sys.modules)))
"""
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"


def test_who_opens_the_folder_sees_the_design():
    root = [path for path in FILES if path.parent == SOURCE]
    assert len(root) <= 8
    assert not [
        path.name for path in FILES if path.stem.strip("_") in ("utils", "helpers", "manager", "common", "misc")
    ]


def test_no_file_is_longer_than_a_reader_is_patient():
    assert [path.name for path in FILES if len(path.read_text().splitlines()) > 300] == []


def test_no_class_has_the_name_of_another():
    names = Counter(re.findall(r"^class (\w+)", "\n".join(path.read_text() for path in FILES), re.MULTILINE))
    assert [name for name, count in names.items() if count > 1] == []


def test_no_tracker_is_known_by_its_name_outside_of_its_package():
    """But for the one that is taken where none is named."""
    named = {}
    for path in FILES:
        place = path.relative_to(SOURCE).as_posix()
        if not place.startswith(tuple(f"exporters/{tracker}/" for tracker in TRACKERS)):
            found = [text for text in code_texts(path) if any(tracker in text.lower() for tracker in TRACKERS)]
            named |= {place: found} if found else {}
    assert named == {"cli/__init__.py": ["mlflow"], "settings.py": ["mlflow"]}


def code_texts(path: Path) -> list[str]:
    """Names and text in the code of a file; docstrings are none."""
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = []
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                texts.append(text)
            case ast.Name(id=text) | ast.Attribute(attr=text) | ast.alias(name=text) | ast.arg(arg=text):
                texts.append(text)
            case ast.FunctionDef(name=text) | ast.ClassDef(name=text):
                texts.append(text)
    return texts
