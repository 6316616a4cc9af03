"""A training with the progress bar that is named: `fits.py BAR DIRECTORY`."""

from __future__ import annotations

import sys

import lightning.pytorch as pl
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from tests.console.scripts.prints import captured
from tests.support.trainings import loader, regression

bar = {"tqdm": TQDMProgressBar, "rich": RichProgressBar}[sys.argv[1]](refresh_rate=1)
capture = captured(sys.argv[2])
print("before", flush=True)
trainer = pl.Trainer(
    max_epochs=2, accelerator="cpu", logger=False, callbacks=[bar], enable_checkpointing=False, num_sanity_val_steps=0
)
trainer.fit(regression(pl), loader(64), loader(16, seed=1))
print("after the fit", flush=True)
capture.close()
