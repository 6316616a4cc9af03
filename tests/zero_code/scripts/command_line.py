"""A script with a `LightningCLI` that writes no file."""

import lightning.pytorch.cli
from tests.support.command_line import command_line

ARGUMENTS = ["fit", "--model.lr=0.5", "--model.head.width=7", "--optimizer=SGD"]
command_line(lightning.pytorch.cli, ARGUMENTS, save_config_callback=None)
