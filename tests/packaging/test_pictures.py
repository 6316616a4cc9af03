"""The pictures of docs/: each is shown, described and small, and the plot of costs has the figures of today."""

import re
from pathlib import Path

import pytest
from pictures.cost import NAME, drawing
from pictures.kept import DIRECTORY, MOST_BYTES

ROOT = Path(__file__).parents[2]
IN_ALL = 1_000_000
SHOWN = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def shown() -> list[tuple[str, Path]]:
    """Alternative text and path of each picture that a page shows."""
    return [
        (text, (page.parent / target).resolve())
        for page in (ROOT / "README.md", *(ROOT / "docs").glob("**/*.md"))
        for text, target in SHOWN.findall(page.read_text())
        if "://" not in target
    ]


def test_each_picture_that_is_shown_exists_and_is_described(shown: list[tuple[str, Path]]) -> None:
    assert shown
    assert [path for text, path in shown if not path.is_file() or len(text) < 20] == []


def test_each_picture_is_shown_somewhere(shown: list[tuple[str, Path]]) -> None:
    assert {path for _, path in shown} >= set(DIRECTORY.iterdir())


def test_pictures_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in DIRECTORY.iterdir()}
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES} == {}
    assert sum(sizes.values()) < IN_ALL


def test_the_plot_of_costs_has_the_figures_of_the_results() -> None:
    assert (DIRECTORY / f"{NAME}.svg").read_text() == drawing()
