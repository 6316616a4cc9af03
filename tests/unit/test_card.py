"""How a run shows itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tracelet_otel.session.card import as_html, as_text


def run(**others: Any) -> Any:
    told = {"name": "a <b>", "project": "p&q", "backends": ("mlflow", "wandb"), "id": "1f", "urls": {}}
    return SimpleNamespace(**{**told, "is_open": True, "is_of_this_process": True, **others})


@pytest.mark.parametrize(
    ("others", "text"),
    [
        ({}, "<Run 'a <b>' in 'p&q': recording, mlflow, wandb, id 1f>"),
        ({"is_open": False, "id": ""}, "<Run 'a <b>' in 'p&q': ended, mlflow, wandb, id not known>"),
        (
            {"is_open": False, "is_of_this_process": False},
            "<Run 'a <b>' in 'p&q': of another process, mlflow, wandb, id 1f>",
        ),
    ],
)
def test_on_one_line(others, text):
    assert as_text(run(**others)) == text


def test_in_a_notebook_addresses_are_links_and_nothing_is_taken_for_a_tag():
    urls = {"mlflow": "https://host/#/runs/1?a=1&b=2", "wandb": "/home/<me>/wandb", "clearml": "javascript:alert(1)"}
    assert as_html(run(urls=urls)) == (
        "<div><b>a &lt;b&gt;</b> in p&amp;q: recording<br><code>1f</code><table>"
        '<tr><td>mlflow</td><td><a href="https://host/#/runs/1?a=1&amp;b=2" target="_blank" rel="noopener">'
        "https://host/#/runs/1?a=1&amp;b=2</a></td></tr>"
        "<tr><td>wandb</td><td><code>/home/&lt;me&gt;/wandb</code></td></tr>"
        "<tr><td>clearml</td><td><code>javascript:alert(1)</code></td></tr></table></div>"
    )
