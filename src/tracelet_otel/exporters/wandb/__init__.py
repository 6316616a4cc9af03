"""The tracker for Weights & Biases, which writes to its cloud, to another server, or to a folder."""

from typing import Final

from tracelet_otel.exporters.spec import TrackerSpec
from tracelet_otel.exporters.wandb.options import WandbOptions

SPEC: Final = TrackerSpec(
    "wandb",
    tracker="tracelet_otel.exporters.wandb.client:WandbTracker",
    probe="tracelet_otel.exporters.wandb.probe:probe",
    options=WandbOptions,
    package="wandb",
    install="tracelet-otel[wandb]",
    # In one process, W&B's client ends a run that other code has begun there, or gives us that run.
    needs_relay=True,
    environment={
        # The client would report its own errors to W&B, with another SDK that starts threads.
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
    },
    # The first names the wandb-core process of the training, which ends with the training. With one of the others W&B's
    # client gives every run of its process the id that the sweep has chosen; we tell it of the run that has it.
    not_inherited=("WANDB_SERVICE", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH"),
)
