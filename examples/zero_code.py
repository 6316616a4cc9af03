"""A training that has never heard of tracelet. The command that starts it records it.

    tracelet-otel run --backend mlflow --project examples python examples/zero_code.py

The stock tool of OpenTelemetry does the same, with its own variables:

    OTEL_METRICS_EXPORTER=mlflow OTEL_TRACES_EXPORTER=none OTEL_LOGS_EXPORTER=none \\
        opentelemetry-instrument python examples/zero_code.py

Started by `python` alone, it trains and nothing is recorded.
"""

import lightning as L
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset


class Regression(L.LightningModule):
    def __init__(self, learning_rate=0.05):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(8, 1)

    def training_step(self, batch):
        inputs, targets = batch
        loss = functional.mse_loss(self.layer(inputs), targets)
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.hparams.learning_rate)


if __name__ == "__main__":
    L.seed_everything(7, verbose=False)
    inputs = torch.randn(320, 8)
    data = TensorDataset(inputs, inputs.sum(1, keepdim=True))
    trainer = L.Trainer(max_epochs=2, accelerator="cpu", logger=False, log_every_n_steps=1, enable_progress_bar=False)
    trainer.fit(Regression(), DataLoader(data, 16))
    print(f"train/loss is {trainer.callback_metrics['train/loss']:.6f}")
