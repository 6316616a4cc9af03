"""How a run shows itself where its object is printed, in a terminal and in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Protocol


class Shown(Protocol):
    """What a run says of itself."""

    name: str
    project: str
    backends: Sequence[str]

    @property
    def id(self) -> str:
        """Empty in a rank that has not found its run yet."""
        ...

    @property
    def urls(self) -> Mapping[str, str]:
        """Where to look at the run, by backend: addresses, or paths of offline runs."""
        ...

    @property
    def is_of_this_process(self) -> bool:
        """Whether it was begun here."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether it was begun here, and goes on."""
        ...


def as_text(run: Shown) -> str:
    """The run on one line. Asks nobody."""
    return (
        f"<Run {run.name!r} in {run.project!r}: {_state(run)}, {', '.join(run.backends)}, id {run.id or 'not known'}>"
    )


def as_html(run: Shown) -> str:
    """The run for a notebook, with links."""
    return as_card(run.name, run.project, run.id, _state(run), run.urls)


def as_card(
    name: str,
    project: str,
    run_id: str,
    state: str,
    places: Mapping[str, str],
    figures: Mapping[str, str] | None = None,
    table: str = "",
) -> str:
    """A card of HTML.

    Args:
        name: name of the run.
        project: its project.
        run_id: its id.
        state: in words.
        places: where to look at it, by backend.
        figures: more to say of it, by name.
        table: lines of text below, in which columns stand below each other.
    """
    rows = "".join(f"<tr><td>{escape(key)}</td><td>{_link(place)}</td></tr>" for key, place in places.items())
    rows += "".join(f"<tr><td>{escape(key)}</td><td>{escape(one)}</td></tr>" for key, one in (figures or {}).items())
    title = f"<b>{escape(name)}</b> in {escape(project)}: {escape(state)}"
    below = f"<pre>{escape(table)}</pre>" if table else ""
    return f"<div>{title}<br><code>{escape(run_id)}</code><table>{rows}</table>{below}</div>"


def _state(run: Shown) -> str:
    if run.is_open:
        return "recording"
    return "ended" if run.is_of_this_process else "of another process"


def _link(url: str) -> str:
    shown = escape(url)
    if url.startswith(("http://", "https://")):
        return f'<a href="{shown}" target="_blank" rel="noopener">{shown}</a>'
    return f"<code>{shown}</code>"
