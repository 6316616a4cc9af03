"""One run in three trackers at once: MLflow, Weights & Biases and ClearML.

    python examples/three_trackers.py

No server and no account is needed: MLflow writes to `mlflow.db`, and W&B and ClearML record offline where they have
no key. At its end the script says what each tracker has taken, where it is, and how to look at it or upload it. With
`WANDB_API_KEY` set, or a `clearml.conf`, the same script writes to their servers.
"""

import warnings

import lightning as L
from digits import DigitsData, DigitsModel, report

import tracelet_otel as tracelet


def main():
    L.seed_everything(7, verbose=False)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")

    with tracelet.start_logging("three trackers", project="digits", backend=["mlflow", "wandb", "clearml"]) as run:
        run.set_tags({"team": "vision"})
        run.set_note("The same values, three times.")
        trainer = L.Trainer(
            max_epochs=2,
            accelerator="cpu",
            logger=False,
            log_every_n_steps=5,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(DigitsModel(), DigitsData())

    report(run)


if __name__ == "__main__":
    main()
