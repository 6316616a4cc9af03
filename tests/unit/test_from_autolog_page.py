"""The page for users of autologging has a row for each argument of the installed MLflow, and no others."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.unit.test_other_loggers_page import check, parameters

PAGE = Path(__file__).parents[2] / "docs/from-autolog.md"


@pytest.mark.whole
def test_arguments_of_autolog() -> None:
    ours, others = (
        PAGE.read_text().partition(f"## The {title} of `{function}`\n")[2].partition("\n## ")[0]
        for title, function in (("arguments", "mlflow.pytorch.autolog"), ("other arguments", "mlflow.autolog"))
    )
    of_pytorch = set(parameters(importlib.import_module("mlflow.pytorch").autolog))
    check(of_pytorch, ours, "argument")
    check(set(parameters(importlib.import_module("mlflow").autolog)) - of_pytorch, others, "argument")
