"""A training whose stream goes to an OpenTelemetry Collector; `run.sh` starts one, and Prometheus behind it."""

import warnings

import lightning as L
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import tracelet_otel as tracelet


class Regression(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 1)

    def training_step(self, batch):
        inputs, targets = batch
        loss = functional.mse_loss(self.layer(inputs), targets)
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)


def main():
    L.seed_everything(7, verbose=False)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    inputs = torch.randn(320, 8)
    data = TensorDataset(inputs, inputs.sum(1, keepdim=True))

    # To the address in OTEL_EXPORTER_OTLP_ENDPOINT; without that, to localhost:4317.
    with tracelet.start_logging("first run", project="examples", backend="otlp"):
        trainer = L.Trainer(
            max_epochs=2,
            accelerator="cpu",
            logger=False,
            log_every_n_steps=1,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Regression(), DataLoader(data, 16))
    print(f"the training's last loss: {trainer.callback_metrics['train/loss']}")


if __name__ == "__main__":
    main()
