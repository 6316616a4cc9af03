"""Settings of the tracker for ClearML."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from tracelet_otel import semconv
from tracelet_otel.exporters.spec import TrackerOptions

CREDENTIALS: Final = "CLEARML_API_ACCESS_KEY and CLEARML_API_SECRET_KEY"
"""Environment variables with which ClearML's client logs in, as messages name them."""


class ClearmlOptions(TrackerOptions):
    """Settings that are read from the environment variables of ClearML's client."""

    address_field = "clearml_api_host"
    run_field = "clearml_task_id"

    clearml_api_host: str | None = Field(default=None, alias="CLEARML_API_HOST")
    """Address of the server; it takes precedence over that in `clearml.conf`."""
    clearml_task_id: str | None = Field(default=None, pattern=semconv.RUN_ID_PATTERN, alias="CLEARML_TASK_ID")
    """Id of the task to continue; ClearML's agents set this variable."""

    @property
    def client_modules(self) -> tuple[str, ...]:
        """The client."""
        return ("clearml",)
