"""Where ClearML's tasks go, as settings say it."""

from __future__ import annotations

from typing import Any, Final

from tracelet_otel._support.redact import without_credentials
from tracelet_otel.settings import Settings

CREDENTIALS: Final = "CLEARML_API_ACCESS_KEY and CLEARML_API_SECRET_KEY"
"""What its client logs in with."""


def resolved(settings: Settings, url: str | None) -> dict[str, Any]:
    """Changes to settings, by field, after which they mean the same in another process and directory.

    Args:
        settings: as they were loaded.
        url: the server's address, over the one that they hold.
    """
    return {"clearml_api_host": url or settings.clearml_api_host}


def without_secrets(settings: Settings) -> dict[str, Any]:
    """Changes to settings, by field, after which they may be kept on disk."""
    url = settings.clearml_api_host
    return {"clearml_api_host": url and without_credentials(url)}
