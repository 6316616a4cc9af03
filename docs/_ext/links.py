"""Links to directories of the repository: on the site, each leads to an archive of the directory."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

ARCHIVES: Final = "_archives"
"""Directory of the archives, on the site."""
_REDIRECT: Final = '<!DOCTYPE html>\n<meta charset="utf-8">\n<meta http-equiv="refresh" content="0; url={url}">\n'


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("doctree-read", _link_archives)
    app.connect("build-finished", _write_first_page)
    return {"parallel_read_safe": True}


def _link_archives(app: Sphinx, document: nodes.document) -> None:
    page = app.env.docname
    for link in list(document.findall(addnodes.pending_xref)):
        directory = Path(app.env.relfn2path(link["reftarget"], page)[1]).resolve()
        if link["reftype"] != "myst" or link["refdomain"] or not directory.is_dir():
            continue
        name = directory.relative_to(app.srcdir).as_posix().replace("/", "-")
        shutil.make_archive(str(app.outdir / ARCHIVES / name), "zip", directory.parent, directory.name)
        address = "../" * page.count("/") + f"{ARCHIVES}/{name}.zip"
        link.replace_self(nodes.reference("", "", *link.children, refuri=address, internal=True))


def _write_first_page(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        address = app.builder.get_target_uri(app.config.root_doc)
        (app.outdir / "index.html").write_text(_REDIRECT.format(url=address))
