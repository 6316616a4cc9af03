"""Where ClearML's tasks go."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from tracelet_otel import semconv
from tracelet_otel.exporters.spec import TrackerOptions

CREDENTIALS: Final = "CLEARML_API_ACCESS_KEY and CLEARML_API_SECRET_KEY"
"""What its client logs in with."""


class ClearmlOptions(TrackerOptions):
    """What ClearML's client is configured with by environment variables of its own."""

    address_field = "clearml_api_host"
    run_field = "clearml_task_id"

    clearml_api_host: str | None = Field(default=None, alias="CLEARML_API_HOST")
    """Address of the server, over that in `clearml.conf`."""
    clearml_task_id: str | None = Field(default=None, pattern=semconv.RUN_ID_PATTERN, alias="CLEARML_TASK_ID")
    """The task to continue, as ClearML's agents set it."""
