"""Every block of every page is run, or says beside it why not."""

from __future__ import annotations

import importlib
import os
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

import tracelet_otel
from tests.docs.blocks import parse, unexecuted
from tests.support.trainings import loader, regression

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "collector-config/**/*.md")
    for page in ROOT.glob(pattern)
    if "_build" not in page.parts and page.name != "CHANGELOG.md"
)


def names(text: str) -> dict[str, Any]:
    """What every page has without saying so: the imports, and a reader's model, data and Trainer."""
    pl = importlib.import_module("pytorch_lightning" if "pytorch_lightning" in text else "lightning.pytorch")
    return {
        "__name__": "__main__",
        "tracelet": tracelet_otel,
        "torch": torch,
        "pl": pl,
        "L": importlib.import_module("lightning"),
        "model": regression(pl, train_dataloader=lambda _: loader(8), val_dataloader=lambda _: loader(4, seed=1)),
        "train_dataloader": loader(8),
        "val_dataloader": loader(4, seed=1),
        "trainer": pl.Trainer(max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False),
    }


@pytest.mark.parametrize("page", PAGES)
def test_no_block_is_left_unexecuted_without_a_reason_beside_it(page):
    assert not list(unexecuted(parse(ROOT / page)))


@pytest.mark.parametrize("page", [page for page in PAGES if any(one.region.evaluator for one in parse(ROOT / page))])
def test_the_blocks_of_a_page_run(page, commands, collector, database):
    document = parse(ROOT / page)
    document.namespace.update(names(document.text))
    try:
        with mock.patch.dict(os.environ), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for example in document.examples():
                example.evaluate()
    finally:
        tracelet_otel.stop_logging()
    runs = [one for one in document.namespace.values() if isinstance(one, tracelet_otel.Run)]
    assert not [run.errors for run in runs if run.errors]
    assert not [account for run in runs for account in run.accounts.values() if account.refused or account.pending]
