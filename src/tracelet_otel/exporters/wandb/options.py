"""Settings of the tracker for W&B."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from tracelet_otel.exporters.spec import TrackerOptions


class WandbOptions(TrackerOptions):
    """Settings that are read from the environment variables of W&B's client."""

    address_field = "wandb_base_url"
    store_fields = ("wandb_dir",)
    run_field = "wandb_run_id"

    wandb_base_url: str | None = Field(default=None, alias="WANDB_BASE_URL")
    """Address of the server; by default that of W&B's cloud."""
    wandb_dir: Path | None = Field(default=None, alias="WANDB_DIR")
    """Directory in which the folder `wandb` is created; by default the working directory."""
    wandb_mode: str | None = Field(default=None, alias="WANDB_MODE")
    """`online` or `offline`."""
    wandb_project: str | None = Field(default=None, alias="WANDB_PROJECT")
    """Name of the project, used where the setting `project` does not name one."""
    wandb_run_id: str | None = Field(default=None, alias="WANDB_RUN_ID")
    """Id of the run to begin or to continue."""
    wandb_resume: str | None = Field(default=None, alias="WANDB_RESUME")
    """Whether that run has to exist, in the words of W&B's argument `resume`."""
    wandb_sweep_id: str | None = Field(default=None, alias="WANDB_SWEEP_ID")
    """Id of the sweep whose agent has started the training."""
    wandb_sweep_param_path: Path | None = Field(default=None, alias="WANDB_SWEEP_PARAM_PATH")
    """The file in which the agent has left the hyperparameters that the sweep has chosen."""
    wandb_netrc: Path | None = Field(default=None, alias="NETRC")
    """The netrc file, which may hold W&B's credentials; by default the one in the home directory."""

    @model_validator(mode="before")
    @classmethod
    def _from_0_1_0(cls, values: Any) -> Any:
        """Take the name that journals of version 0.1.0 have for a field."""
        return {"wandb_netrc": values["netrc"], **values} if "netrc" in values else values

    @property
    def client_modules(self) -> tuple[str, ...]:
        """The client."""
        return ("wandb",)

    def resolved(self) -> WandbOptions:
        """Return a copy with absolute paths, which are the same in any working directory."""
        path = self.wandb_sweep_param_path
        own = self._with("wandb_sweep_param_path", None if path is None else path.absolute())
        return own._with("wandb_dir", (self.wandb_dir or Path.cwd()).expanduser().absolute())
