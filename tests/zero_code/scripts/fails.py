"""A training that fails in its first step."""

import lightning.pytorch as pl
import torch


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        raise RuntimeError("no loss today")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)


trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
trainer.fit(Net(), torch.utils.data.DataLoader(torch.randn(8, 4)))
