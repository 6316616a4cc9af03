import lightning.pytorch as pl

pl.Trainer(logger=False, accelerator="cpu")
