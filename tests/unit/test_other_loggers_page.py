"""The page for who comes from another logger has a row for each name that the installed classes have, and no others."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs/other-loggers.md"
IN_SOME = "(not in all releases)"
"""What stands behind a name that some releases lack."""
PACKAGES = ("lightning.pytorch", "pytorch_lightning")


def section(*titles: str) -> str:
    """The text below headings, each within the one before."""
    text = PAGE.read_text()
    for level, title in enumerate(titles, start=2):
        head, next_head = rf"^{'#' * level} {re.escape(title)}\n", rf"^#{{2,{level}}} |\Z"
        (text,) = re.findall(rf"{head}(.*?)(?={next_head})", text, re.MULTILINE | re.DOTALL)
    return text


def names(text: str, head: str) -> tuple[set[str], set[str]]:
    """Names in the first column of the table with this head, and those that some releases lack."""
    (table,) = re.findall(rf"^\| {head} \|.*\n\|[-|]+\|\n((?:\|.*\n?)+)", text, re.MULTILINE)
    always, sometimes = set(), set()
    for row in table.splitlines():
        first = row.split("|")[1]
        found = re.findall(r"`([^`]+)`", first)
        assert found, row
        (sometimes if IN_SOME in first else always).update(found)
    return always, sometimes


def check(there: set[str], text: str, head: str) -> None:
    always, sometimes = names(text, head)
    assert there - always - sometimes == set(), "the page lacks these"
    assert always - there == set(), "these are not there any more"


def parameters(function: Any) -> Iterator[str]:
    for parameter in list(inspect.signature(function).parameters.values()):
        if parameter.name not in ("self", "cls"):
            yield {parameter.VAR_KEYWORD: "**", parameter.VAR_POSITIONAL: "*"}.get(parameter.kind, "") + parameter.name


def members(kind: type) -> Iterator[str]:
    """Public members: properties by their name, methods with their arguments."""
    for name in dir(kind):
        if not name.startswith("_"):
            found = inspect.getattr_static(kind, name)
            function = getattr(found, "__func__", found)
            yield f"{name}({', '.join(parameters(function))})" if inspect.isfunction(function) else name


@pytest.mark.whole
@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("logger", ["MLFlowLogger", "WandbLogger"])
def test_loggers_of_lightning(package: str, logger: str) -> None:
    kind = getattr(importlib.import_module(f"{package}.loggers"), logger)
    check(set(parameters(kind.__init__)), section(logger, "Arguments"), "argument")
    check(set(members(kind)), section(logger, "Methods and properties"), "member")


@pytest.mark.whole
def test_arguments_of_clearml() -> None:
    from clearml import OutputModel, Task

    of_init = section("ClearML", "Arguments of `Task.init`")
    check(set(parameters(Task.init)), of_init, "argument")
    of_artifacts = section("ClearML", "Arguments of `Task.upload_artifact`")
    check(set(parameters(Task.upload_artifact)), of_artifacts, "argument")
    check(set(parameters(OutputModel.__init__)), section("ClearML", "`OutputModel`"), "argument")


@pytest.mark.whole
def test_methods_of_clearml() -> None:
    from clearml import Logger, OutputModel

    reports = {name for name in dir(Logger) if name.startswith("report_")}
    check(reports, section("ClearML", "Methods of `Logger`"), "method")
    own = {name for name in vars(OutputModel) if not name.startswith("_")}
    check(own, section("ClearML", "`OutputModel`"), "member")


@pytest.mark.whole
def test_frameworks_that_clearml_binds() -> None:
    from clearml import Task

    words = inspect.getdoc(Task.init) or ""
    (example,) = re.findall(r"auto_connect_frameworks=\{\n(.*?)\}", words, re.DOTALL)
    check(set(re.findall(r"'(\w+)':", example)), section("ClearML", "What it records automatically"), "framework")


@pytest.mark.parametrize(
    ("there", "problem"),
    [({"a", "new"}, "lacks"), (set(), "not there any more"), ({"a"}, None), ({"a", "some"}, None)],
)
def test_a_name_that_is_missing_or_gone_is_found(there: set[str], problem: str | None) -> None:
    text = f"| argument | with tracelet-otel |\n|---|---|\n| `a` | as `b` |\n| `some` {IN_SOME} | as `c` |\n"
    if problem is None:
        check(there, text, "argument")
    else:
        with pytest.raises(AssertionError, match=problem):
            check(there, text, "argument")


def test_settings_and_calls_that_it_names_are_there() -> None:
    from tracelet_otel import Run
    from tracelet_otel.settings import Settings

    text = PAGE.read_text()
    calls = set(re.findall(r"`run\.(\w+)", text))
    assert {name for name in calls if not hasattr(Run, name)} <= {"urls", "id", "project"}
    settings = set(re.findall(r"settings? `(\w+)`", text))
    assert settings <= set(Settings.model_fields)
    assert {"checkpoints", "run_id", "track_gradients"} <= settings


def test_each_link_leads_somewhere() -> None:
    for path, _, anchor in re.findall(r"\]\(([^)#:]*)(#([^)]+))?\)", PAGE.read_text()):
        target = PAGE.parent / path if path else PAGE
        titles = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not anchor or anchor in anchors, f"{path}#{anchor}"
