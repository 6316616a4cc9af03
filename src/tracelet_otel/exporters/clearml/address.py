"""The address of ClearML's server, from the settings."""

from __future__ import annotations

from typing import Any, Final

from tracelet_otel._support.redact import without_credentials
from tracelet_otel.settings import Settings

CREDENTIALS: Final = "CLEARML_API_ACCESS_KEY and CLEARML_API_SECRET_KEY"
"""The variables with which ClearML's client logs in."""


def resolved(settings: Settings, url: str | None) -> dict[str, Any]:
    """New values of settings, by field, that mean the same in another process and working directory.

    Args:
        settings: as they were loaded.
        url: a server's address that takes precedence over theirs; None for none.
    """
    return {"clearml_api_host": url or settings.clearml_api_host}


def without_secrets(settings: Settings) -> dict[str, Any]:
    """New values of settings, by field, without credentials: with them, the settings may be kept on disk."""
    url = settings.clearml_api_host
    return {"clearml_api_host": url and without_credentials(url)}
