"""The site for language models: `llms.txt` is an index of its pages, `llms-full.txt` has the text of all of them."""

from __future__ import annotations

from importlib.metadata import metadata
from typing import Any, Final

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.osutil import relative_uri
from sphinx.writers.text import TextTranslator

_LONGEST: Final = 200
"""Characters that are kept of the first paragraph of a page."""

_DIRECTIVE: Final = "\n```{"


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("build-finished", _write)
    return {"parallel_read_safe": True}


def _write(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    index, texts = [], []
    for page in _in_order(app.env, app.config.root_doc):
        document = app.env.get_and_resolve_doctree(page, app.builder)
        address = relative_uri("", app.builder.get_target_uri(page))
        index.append(f"- [{app.env.titles[page].astext()}]({address}): {_first_words(document)}")
        texts.append(f"<!-- {address} -->\n\n{_text(app, page, document)}")
    name = app.config.project
    project = f"# {name}\n\n> {metadata(name)['Summary']}\n"
    (app.outdir / "llms.txt").write_text("\n".join([project, "## Pages\n", *index, ""]))
    (app.outdir / "llms-full.txt").write_text("\n\n".join([project, *texts]))


def _in_order(env: BuildEnvironment, page: str) -> list[str]:
    """A page and those below it, in the order of the tables of contents."""
    below = env.toctree_includes.get(page, [])
    return list(dict.fromkeys([page, *(name for one in below for name in _in_order(env, one))]))


def _text(app: Sphinx, page: str, document: nodes.document) -> str:
    """The Markdown of a page; of one that is made from the code, its text."""
    source = app.env.doc2path(page).read_text()
    if _DIRECTIVE not in source:
        return source
    translator = TextTranslator(document, app.builder)  # type: ignore[arg-type]
    document.walkabout(translator)
    return translator.body


def _first_words(document: nodes.document) -> str:
    for paragraph in document.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if text:
            sentence = text.split(". ")[0].rstrip(".:") + "."
            return sentence if len(sentence) <= _LONGEST else sentence[:_LONGEST].rsplit(" ", 1)[0] + " …"
    return ""
