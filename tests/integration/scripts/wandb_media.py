"""A training that hands pictures and tables to a WandbLogger; prints what could not be recorded."""

import json
import sys
import wave
from pathlib import Path
from types import ModuleType

import lightning.pytorch as pl
import matplotlib as mpl
import numpy as np
import torch
import wandb
from PIL import Image
from tests.support.spooled import SpooledRun
from tests.support.trainings import Training, regression

mpl.use("Agg")
COLOURS = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)


def on_train_end(self):
    logger = self.logger
    logger.log_image("array", [COLOURS], 3)
    tensor = torch.tensor(COLOURS).permute(2, 0, 1)
    logger.log_image(key="several", images=[wandb.Image(COLOURS), tensor.float(), "a.png"], caption=["a", "b", "c"])
    drawn = mpl.figure.Figure(figsize=(2, 2))
    drawn.subplots().plot([0, 1])
    logger.log_image("figure", [drawn], step=3)
    logger.log_table("table", ["file", "score"], [["a", 0.5], ["b", 1.5]], step=3)
    logger.log_text("text", columns=["said"], data=[["one"], ["two"]], step=3)
    logger.log_audio("sound", ["sound.wav"], 3)
    logger.experiment.log_artifact("notes.txt", name="notes", type="notes")


# Of a sound that is a file already, W&B only asks whether it is installed.
sys.modules.setdefault("soundfile", ModuleType("soundfile"))
Path("notes.txt").write_text("of a file")
Image.fromarray(COLOURS).save("a.png")
with wave.open("sound.wav", "wb") as sound:
    sound.setparams((1, 2, 8000, 0, "NONE", ""))
    sound.writeframes(np.arange(100, dtype="<i2").tobytes())
run = SpooledRun(Path("spooled"))
Training({"max_epochs": 1}, module=lambda pl: regression(pl, on_train_end=on_train_end))(
    pl, pl.loggers.WandbLogger(project="theirs", offline=True)
)
wandb.finish()
run.close()
print(json.dumps(dict(run.guard.counts)))
