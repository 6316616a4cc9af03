"""Weights & Biases: its cloud, a server of one's own, or a folder."""

from typing import Final

from tracelet_otel.exporters.spec import TrackerSpec
from tracelet_otel.exporters.wandb.options import WandbOptions

SPEC: Final = TrackerSpec(
    "wandb",
    tracker="tracelet_otel.exporters.wandb.client:WandbTracker",
    options=WandbOptions,
    package="wandb",
    install="tracelet-otel[wandb]",
    # Its client ends the run of whoever else uses it in the process, or hands that run to us.
    needs_relay=True,
    environment={
        # It would report its own errors to its makers, with another SDK and its threads.
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
    },
    # It names the wandb-core process of the training, which ends with the training.
    not_inherited=("WANDB_SERVICE",),
)
