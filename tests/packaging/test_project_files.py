"""Files about the project say what is true of it."""

from __future__ import annotations

import re
import subprocess
import sys
from configparser import ConfigParser
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from tracelet_otel.settings import Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KINDS = {"Added", "Changed", "Deprecated", "Fixed", "Removed", "Security"}
INDENTED_WITH = {"space": "\t", "tab": " "}
"""What no line begins with, by the style."""


@pytest.fixture
def root(pytestconfig: pytest.Config) -> Path:
    return pytestconfig.rootpath


@pytest.fixture
def pyproject(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


@pytest.fixture
def editorconfig(root: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read_string("[.]\n" + (root / ".editorconfig").read_text())
    return parser


def texts(root: Path) -> dict[str, str]:
    """Files of text that git has, or would take."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    contents = {name: (root / name).read_bytes() for name in names if (root / name).is_file()}
    return {name: content.decode() for name, content in contents.items() if b"\0" not in content}


def test_editors_are_told_the_length_of_a_line(editorconfig: ConfigParser, pyproject: dict[str, Any]) -> None:
    assert editorconfig["*.py"].getint("max_line_length") == pyproject["tool"]["ruff"]["line-length"]


def test_files_are_as_editors_are_told(editorconfig: ConfigParser, root: Path) -> None:
    for name, text in texts(root).items():
        if not text or name == "LICENSE":  # as its authors give it
            continue
        sections = [editorconfig[glob] for glob in editorconfig.sections() if fnmatch(Path(name).name, glob)]
        told = {key: value for section in sections for key, value in section.items()}
        assert (told["end_of_line"], told["charset"]) == ("lf", "utf-8")
        assert "\r" not in text, name
        assert text.endswith("\n"), name
        assert not re.search(r"[ \t]$", text, re.MULTILINE), name
        assert not re.search(f"^{INDENTED_WITH[told['indent_style']]}", text, re.MULTILINE), name


def test_hooks_of_pre_commit_are_those_of_make_check(root: Path) -> None:
    rule = re.search(r"^check:.*\n((?:\t.*\n)+)", (root / "Makefile").read_text(), re.MULTILINE)
    assert rule is not None
    commands = [line.strip().replace("$(BIN)", ".venv/bin") for line in rule[1].splitlines()]
    (local,) = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    assert [hook["entry"] for hook in local["hooks"]] == commands
    # Each looks at the whole tree, as `make check` does.
    assert {(hook["language"], hook["pass_filenames"]) for hook in local["hooks"]} == {("system", False)}


def test_the_changelog_has_this_version_and_what_is_not_in_it_yet(root: Path, pyproject: dict[str, Any]) -> None:
    page = (root / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (\S+)", page, re.MULTILINE)
    assert versions[:2] == ["Unreleased", pyproject["project"]["version"]]
    assert set(re.findall(r"^### (.+)", page, re.MULTILINE)) <= KINDS


@pytest.mark.parametrize("page", ["CHANGELOG.md", "SECURITY.md", "README.md"])
def test_a_page_names_only_settings_that_there_are(root: Path, page: str) -> None:
    from tracelet_otel.settings import Settings

    named = set(re.findall(r"\bTRACELET_([A-Z_]+)\b", (root / page).read_text()))
    assert named <= {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("page", ["CHANGELOG.md", "SECURITY.md", "README.md"])
def test_a_page_links_to_files_that_there_are(root: Path, page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)[)#]", (root / page).read_text())
    assert [link for link in links if not (root / link).exists()] == []


def test_the_page_of_settings_has_each_of_them() -> None:
    page = (Path(__file__).parents[2] / "docs/configuration.md").read_text()
    own = [name for name, field in Settings.model_fields.items() if field.validation_alias is None]
    assert [name for name in own if f"`{name}`" not in page] == []
