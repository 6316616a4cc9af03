"""`page.py PAGE` runs the blocks of a page, one after the other.

Every page has the names of what it needs nearly always: the imports, and a reader's model, data and Trainer. A run that
is called by a name has to be free of errors in the end, and its values delivered.
"""

import importlib
import sys
import types
import warnings
from pathlib import Path

import torch
from tests.docs.blocks import parse
from tests.support.trainings import loader, regression

import tracelet_otel

document = parse(Path(sys.argv[1]))
pl = importlib.import_module("pytorch_lightning" if "pytorch_lightning" in document.text else "lightning.pytorch")
main = sys.modules["__main__"] = types.ModuleType("__main__")  # as of a script of these blocks
document.namespace = vars(main)
document.namespace.update(
    tracelet=tracelet_otel,
    torch=torch,
    pl=pl,
    L=importlib.import_module("lightning"),
    model=regression(pl, train_dataloader=lambda _: loader(8), val_dataloader=lambda _: loader(4, seed=1)),
    train_dataloader=loader(8),
    val_dataloader=loader(4, seed=1),
    trainer=pl.Trainer(max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False),
)
warnings.simplefilter("ignore")
for example in document:
    example.evaluate()
tracelet_otel.stop_logging()
runs = [one for one in document.namespace.values() if isinstance(one, tracelet_otel.Run)]
assert not [run.errors for run in runs if run.errors]
assert not [account for run in runs for account in run.accounts.values() if account.refused or account.pending]
