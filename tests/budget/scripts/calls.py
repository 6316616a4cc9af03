"""Logs rows on a thread that may make no system call, and exits with 7: `calls.py ROWS [and calls]`."""

import os
import sys

import lightning.pytorch as pl
import torch
from tests.budget.scripts.forbidding import forbid_calls
from tests.support.quiet import quiet_trainer

import tracelet_otel as tracelet


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch):
        connector, values = self.trainer._logger_connector, {f"m{n}": torch.tensor(float(n)) for n in range(5)}
        connector.log_metrics(values, step=0)
        forbid_calls()
        for step in range(int(sys.argv[1])):
            connector.log_metrics(values, step=step)
        if sys.argv[2:] == ["and calls"]:
            os.getppid()
        os._exit(7)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


tracelet.start_logging()
quiet_trainer(pl, max_epochs=1).fit(Module(), torch.utils.data.DataLoader(torch.zeros(1, 1)))
