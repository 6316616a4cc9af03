"""What is private of a library is looked for, and what is missing is named."""

from __future__ import annotations

import importlib.metadata
import inspect
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import pytest
from packaging.specifiers import SpecifierSet

from tracelet_otel import IncompatibleVersionError
from tracelet_otel._support.private_names import (
    LIGHTNING,
    OPENTELEMETRY_SDK,
    Library,
    PrivateName,
    check,
    check_package,
    tampered,
)


class Thing:
    field: int

    def __init__(self) -> None:
        self.kept = 1

    def method(self, one: int, two: int, three: int = 3) -> None: ...


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package `made_up` with a module `inner`, as if it had been imported."""
    outer, inner = ModuleType("made_up"), ModuleType("made_up.inner")
    outer.__spec__ = importlib.machinery.ModuleSpec("made_up", None)
    inner.Thing, inner.__file__ = Thing, __file__  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "made_up", outer)
    monkeypatch.setitem(sys.modules, "made_up.inner", inner)
    return outer


def library(*names: PrivateName) -> Library:
    return Library({"made_up": "made-up"}, "1.0", "1.9", names)


@pytest.mark.parametrize(
    "there",
    [
        PrivateName("inner", "Thing"),
        PrivateName("inner", "Thing.field"),
        PrivateName("inner", "Thing.method", ("self", "one")),
        PrivateName("inner", "Thing.__init__", sets=("kept",)),
    ],
)
def test_what_is_there_is_found(package: ModuleType, there: PrivateName) -> None:
    check(library(there))


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        (PrivateName("elsewhere", "Thing"), "made_up.elsewhere.Thing"),
        (PrivateName("inner", "Other"), "made_up.inner.Other"),
        (PrivateName("inner", "Thing.other"), "made_up.inner.Thing.other"),
        (PrivateName("inner", "Thing.method", ("self", "two")), "made_up.inner.Thing.method(self, two)"),
        (PrivateName("inner", "Thing.__init__", sets=("kept", "lost")), "made_up.inner.Thing.lost"),
    ],
)
def test_what_is_missing_is_named(package: ModuleType, gone: PrivateName, named: str) -> None:
    there = PrivateName("inner", "Thing")
    with pytest.raises(IncompatibleVersionError) as raised:
        check(library(there, gone, there))
    assert str(raised.value) == (
        f"made-up (of unknown version) is not as expected: {named} is missing, which tracelet-otel needs. "
        f"Versions 1.0 to 1.9 have what is needed: pip install 'made-up>=1.0,<=1.9'"
    )


def test_who_puts_a_function_of_their_own_there_answers_for_it(
    package: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs: dict[str, Callable[..., None]] = {}
    exec(compile("def method(*anything): ...", "theirs.py", "exec"), theirs)
    monkeypatch.setattr(Thing, "method", theirs["method"])
    check(library(PrivateName("inner", "Thing.method", ("self", "one"))))


def test_all_that_are_missing_are_named_at_once(package: ModuleType) -> None:
    with pytest.raises(IncompatibleVersionError, match=r"made_up\.inner\.A, made_up\.inner\.B are missing"):
        check(library(PrivateName("inner", "A"), PrivateName("inner", "B")))


def test_a_library_that_is_not_loaded_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "made_up", raising=False)
    check(library(PrivateName("inner", "Thing")))


def test_a_package_that_is_being_imported_is_looked_at_when_it_is_complete(package: ModuleType) -> None:
    assert package.__spec__ is not None
    package.__spec__._initializing = True  # type: ignore[attr-defined]
    wanted = library(PrivateName("inner", "Other"))
    check(wanted)
    with pytest.raises(IncompatibleVersionError):
        check_package(wanted, "made_up")


def test_the_installed_version_is_named(package: ModuleType) -> None:
    wanted = replace(library(PrivateName("inner", "Other")), packages={"made_up": "pytest"})
    with pytest.raises(IncompatibleVersionError, match=f"pytest {importlib.metadata.version('pytest')} is not as"):
        check(wanted)


def test_the_sdk_has_all_names() -> None:
    check_package(OPENTELEMETRY_SDK, "opentelemetry.sdk")


def test_an_sdk_without_what_is_imported_is_named_at_the_start() -> None:
    script = """
import opentelemetry.sdk.metrics._internal.aggregation as aggregation
del aggregation._LastValueAggregation
import tracelet_otel
tracelet_otel.start_logging(backend="otlp")
"""
    child = subprocess.run(
        [sys.executable, "-c", inspect.cleandoc(script)], capture_output=True, text=True, check=False
    )
    last = child.stderr.splitlines()[-1]
    assert last.startswith("tracelet_otel.errors.IncompatibleVersionError: opentelemetry-sdk 1.")
    assert "opentelemetry.sdk.metrics._internal.aggregation._LastValueAggregation.__init__ is missing" in last


@pytest.mark.parametrize(("installed", "words"), [("2.6.2", 1), ("2.6.3", 1), ("2.6.1", 0), ("2.6.4", 0)])
def test_a_release_that_was_tampered_with_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, installed: str, words: int
) -> None:
    monkeypatch.setattr("tracelet_otel._support.private_names.version", {"lightning": installed}.get)
    found = list(tampered(LIGHTNING))
    assert len(found) == words
    assert all(f"lightning {installed}" in one and "GHSA-w37p-236h-pfx3" in one for one in found)


def test_what_was_tampered_with_is_asked_for_nowhere(pytestconfig: pytest.Config) -> None:
    text = (pytestconfig.rootpath / "pyproject.toml").read_text()
    asked = [line.strip(' ",').removeprefix("lightning") for line in text.splitlines() if '"lightning' in line]
    asked = [one for one in asked if one[:1] in "<>=!~"]
    assert asked
    for distribution, altered in LIGHTNING.tampered:
        assert distribution == "lightning"
        assert not [one for one in asked if altered in SpecifierSet(one)]
