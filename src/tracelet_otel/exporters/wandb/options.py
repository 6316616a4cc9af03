"""Where W&B's runs go."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from tracelet_otel.exporters.spec import TrackerOptions


class WandbOptions(TrackerOptions):
    """What W&B's client is configured with by environment variables of its own."""

    address_field = "wandb_base_url"
    store_fields = ("wandb_dir",)
    run_field = "wandb_run_id"

    wandb_base_url: str | None = Field(default=None, alias="WANDB_BASE_URL")
    """Address of the server; by default that of W&B's cloud."""
    wandb_dir: Path | None = Field(default=None, alias="WANDB_DIR")
    """Directory in which the folder `wandb` is made; by default the working directory."""
    wandb_mode: str | None = Field(default=None, alias="WANDB_MODE")
    """`online` or `offline`."""
    wandb_project: str | None = Field(default=None, alias="WANDB_PROJECT")
    """The project, where the setting `project` does not name one."""
    wandb_run_id: str | None = Field(default=None, alias="WANDB_RUN_ID")
    """The run to begin or to continue."""
    wandb_resume: str | None = Field(default=None, alias="WANDB_RESUME")
    """Whether that run has to exist."""
    wandb_netrc: Path | None = Field(default=None, alias="NETRC")
    """Where credentials are kept, W&B's among others; by default in the home directory."""

    def resolved(self) -> WandbOptions:
        """The same with a folder that is the same in any working directory."""
        return self._with("wandb_dir", (self.wandb_dir or Path.cwd()).expanduser().absolute())
