"""Every block of every page is run, or says beside it why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import parse, unexecuted
from tests.support.collector import tool

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "collector-config/**/*.md")
    for page in ROOT.glob(pattern)
    if "_build" not in page.parts and page.name != "CHANGELOG.md"
)


@pytest.mark.parametrize("page", PAGES)
def test_no_block_is_left_unexecuted_without_a_reason_beside_it(page):
    assert list(unexecuted(parse(ROOT / page))) == []


@pytest.mark.parametrize("page", [page for page in PAGES if any(one.region.evaluator for one in parse(ROOT / page))])
def test_the_blocks_of_a_page_run(page, commands, collector, database, run):
    if "```promql" in (ROOT / page).read_text():
        tool("promtool")
    child = run("page.py", ROOT / page)
    assert child.returncode == 0, f"{child.stdout}\n{child.stderr}"
