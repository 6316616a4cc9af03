"""How Sphinx makes the site of these pages: `make docs`.

The root of the repository is the source directory, so that a relative link means the same on the site as in the
repository, also one to `CHANGELOG.md`.
"""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("_ext")))

project = "tracelet-otel"
version = release = version_of(project)
html_title = f"{project} {version}"
html_theme = "furo"
html_show_copyright = False
root_doc = "docs/index"
include_patterns = ["docs/**.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
# Directories in which there is no page; without them, Sphinx would look into each environment.
exclude_patterns = ["docs/_*", *(path.name for path in Path(__file__).parents[1].iterdir() if path.is_dir())]
exclude_patterns.remove("docs")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinxcontrib.mermaid",
    "links",
    "reference",
    "llms",
]

# Headings have the anchors that they have in the repository's pages.
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
myst_enable_extensions = ["deflist"]

# In docstrings, backticks are code.
default_role = "literal"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
# Of what docstrings name, only what is ours has a page here.
nitpick_ignore_regex = [("py:.*", r"(?!tracelet_otel\b).*")]
nitpick_ignore = [("py:class", "tracelet_otel.instrumentation.by_hand.RecordsByHand")]
# The lexer of PromQL knows no subqueries. Only colours are lost.
suppress_warnings = ["misc.highlighting_failure"]
