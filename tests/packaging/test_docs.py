"""The site of docs/, as `make docs` builds it, and the README as a registry shows it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import zipfile
from email import message_from_bytes
from functools import cached_property
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from readme_renderer import markdown

import tracelet_otel
from tests.packaging.building import Built
from tests.packaging.test_architecture_pages import anchors
from tests.support import services
from tracelet_otel import semconv
from tracelet_otel.gpu.metrics import METRICS
from tracelet_otel.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for page in (*ROOT.glob("docs/**/*.md"), *map(ROOT.joinpath, ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")))
    if "_build" not in page.parts
)
"""Pages of the site."""
HERE = ("127.0.0.1", "localhost")
"""Hosts to which a link may lead without TLS."""


class Html(HTMLParser):
    """The ids and links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.links.add(value)

    @cached_property
    def inner(self) -> set[str]:
        """The links that stay on the site."""
        return {link for link in self.links if not urlsplit(link).scheme}


@pytest.fixture(scope="session")
def site() -> Path:
    """The site, built by the command of `make docs`, which makes an error of each warning."""

    def make(home: Path) -> dict[str, str]:
        rule = re.search(r"^docs:.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert rule is not None
        program, *options, out = shlex.split(rule[1])
        assert (program, out) == ("$(BIN)/sphinx-build", "docs/_build")
        command = [sys.executable, "-m", "sphinx", *options, str(home / "site")]
        child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert child.returncode == 0, child.stderr
        return {"home": str(home / "site")}

    return Path(services.shared("site", make)["home"])


@pytest.fixture(scope="module")
def parsed(site: Path) -> dict[Path, Html]:
    return {path: Html(path.read_text()) for path in site.rglob("*.html")}


def test_each_page_is_in_the_contents(site: Path) -> None:
    index = (site / "llms.txt").read_text()
    listed = re.findall(r"^- \[.+\]\((\S+)\.html\): \S", index, re.MULTILINE)
    assert sorted(f"{page}.md" for page in listed) == PAGES
    text = (site / "llms-full.txt").read_text()
    assert [page for page in listed if f"<!-- {page}.html -->" not in text] == []


def test_each_link_of_the_site_leads_somewhere(parsed: dict[Path, Html]) -> None:
    assert sum(len(page.inner) for page in parsed.values()) > 1000
    dead = []
    for path, page in parsed.items():
        for link in page.inner:
            file, _, anchor = link.partition("#")
            target = (path.parent / unquote(file.partition("?")[0])).resolve() if file else path
            if not target.is_file() or (anchor and target in parsed and unquote(anchor) not in parsed[target].ids):
                dead.append((path.name, link))
    assert dead == []


def test_each_link_to_elsewhere_has_the_form_of_one(parsed: dict[Path, Html]) -> None:
    outer = {link for page in parsed.values() for link in page.links - page.inner if not link.startswith("data:")}
    places = {link: urlsplit(link) for link in outer}
    assert [
        link
        for link, place in places.items()
        if not (
            place.scheme == "https" and re.fullmatch(r"([\w-]+\.)+[a-z]+", place.netloc) and not re.search(r"\s", link)
        )
        and place.hostname not in HERE
    ] == []


@pytest.mark.parametrize("name", [*PAGES, "README.md"])
def test_each_link_of_a_page_leads_somewhere_in_the_repository_too(name: str) -> None:
    page = ROOT / name
    prose = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for path, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)", re.sub(r"`[^`\n]+`", "", prose)):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_the_reference_has_each_setting(parsed: dict[Path, Html], site: Path) -> None:
    named = parsed[site / "docs/reference/settings.html"].ids
    own = [name for name, field in Settings.model_fields.items() if field.validation_alias is None]
    assert len(own) > 30
    assert [name for name in own if f"confval-{name}" not in named] == []


def test_the_reference_has_each_metric_and_each_attribute(site: Path) -> None:
    constants = vars(semconv)
    with_units = {value for name, value in constants.items() if f"{name}_UNIT" in constants}
    of_relays = {value for name, value in constants.items() if name.startswith("RELAY_") and "." in str(value)}
    page = (site / "docs/reference/metrics.html").read_text()
    metrics = with_units | of_relays | {metric.name for metric in METRICS}
    assert len(metrics) > 40
    assert [name for name in sorted(metrics) if f'<span class="pre">{name}</span>' not in page] == []
    page = (site / "docs/reference/attributes.html").read_text()
    attributes = {value for value in constants.values() if str(value).startswith("tracelet.")}
    assert [name for name in sorted(attributes) if f'<span class="pre">{name}</span>' not in page] == []


def test_the_reference_has_the_public_api(parsed: dict[Path, Html], site: Path) -> None:
    from tests.unit.test_public_api import INTERNAL, LOGGER, RUN

    named = parsed[site / "docs/reference/api.html"].ids
    members = [f"Run.{name}" for name in RUN] + [f"TraceletLogger.{name}" for name in LOGGER]
    assert [name for name in (*tracelet_otel.__all__, *members) if f"tracelet_otel.{name}" not in named] == []
    assert [name for name in INTERNAL if f"tracelet_otel.Run.{name}" in named] == []


def test_the_reference_has_each_command(parsed: dict[Path, Html], site: Path) -> None:
    from tracelet_otel.cli import main

    named = parsed[site / "docs/reference/command-line.html"].ids
    assert [name for name in main.commands if f"tracelet-otel-{name}" not in named] == []


def test_a_registry_can_show_the_readme(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = message_from_bytes(archive.read(name))
    assert metadata["Description-Content-Type"] == "text/markdown"
    problems = StringIO()
    shown = markdown.render(metadata.get_payload(decode=True).decode(), stream=problems, variant="GFM")  # type: ignore[union-attr]
    assert shown is not None
    assert problems.getvalue() == ""
    assert shown.count("<table>") == len(re.findall(r"^\|[ :|-]+\|$", (ROOT / "README.md").read_text(), re.MULTILINE))
    # Files of the repository are not beside it.
    links = Html(shown).links
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
