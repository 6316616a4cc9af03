"""The pages about the architecture name only what there is."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/tracelet_otel"
PLACES = (SOURCE, ROOT)
"""What paths in the pages are relative to."""
FIRST_PAGE = ROOT / "docs/architecture.md"
PAGES = [FIRST_PAGE, *sorted((ROOT / "docs/architecture").glob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
SUFFIXES = (".py", ".md", ".toml", ".txt", ".c", "/")
"""How a term ends that is a path in any case."""
LONGEST_FIRST_PAGE = 120


def terms(text: str) -> set[str]:
    """What stands between backticks, and files that the pictures name."""
    blocks = re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return {*re.findall(r"`([^`\n]+)`", prose), *re.findall(r"[\w/]+/\w+\.py", "\n".join(blocks))}


def paths(text: str) -> Iterator[str]:
    """The terms that are paths: by their end, or because they begin with a directory that there is."""
    for term in sorted(terms(text)):
        if not re.fullmatch(r"[\w.<>-]+(/[\w.<>-]+)*/?", term):
            continue
        first, slash, _ = term.partition("/")
        if term.endswith(SUFFIXES) or (slash and any((place / first).is_dir() for place in PLACES)):
            yield term


def exists(path: str) -> bool:
    """Whether there is such a path; `<tracker>` stands for any name."""
    pattern = re.sub(r"<\w+>", "*", path.rstrip("/"))
    found = [one for place in PLACES for one in place.glob(pattern)]
    return any(one.is_dir() for one in found) if path.endswith("/") else bool(found)


def anchors(page: Path) -> set[str]:
    """What links to headings of a page may name."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_each_path_is_there(page: Path) -> None:
    named = list(paths(page.read_text()))
    assert named
    assert [path for path in named if not exists(path)] == []


def test_a_path_that_is_not_there_is_found() -> None:
    text = "`relay/gone.py`, `relay/gone`, `gone/`, `exporters/<tracker>/gone.py`, `relay/run.py`, `a/b`\n"
    picture = '```mermaid\nflowchart\n  a["gone: relay/away.py"]\n```\n'
    missing = ["exporters/<tracker>/gone.py", "gone/", "relay/away.py", "relay/gone", "relay/gone.py"]
    assert [path for path in paths(text + picture) if not exists(path)] == missing


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_each_link_leads_somewhere(page: Path) -> None:
    for path, _, anchor in re.findall(r"\]\(([^)#:]*)(#([^)]+))?\)", page.read_text()):
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_the_first_page_leads_to_each_other_and_is_short() -> None:
    text = FIRST_PAGE.read_text()
    assert [page.name for page in PAGES[1:] if f"(architecture/{page.name})" not in text] == []
    assert len(text.splitlines()) <= LONGEST_FIRST_PAGE


def test_rooms_are_in_the_order_that_import_linter_holds() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [one["layers"] for one in linter["contracts"] if one["type"] == "layers"]
    (table,) = re.findall(r"^\| room \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", FIRST_PAGE.read_text(), re.MULTILINE)
    rows = [re.findall(r"`(\w+)(?:\.py|/)`", row.split("|")[1]) for row in table.splitlines()]
    assert [set(row) for row in rows] == [set(re.findall(r"tracelet_otel\.(\w+)", layer)) for layer in layers]
