"""Where W&B's runs go, as settings say it."""

from __future__ import annotations

import netrc
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tracelet_otel._support.redact import without_credentials
from tracelet_otel.errors import TrackerUnavailableError
from tracelet_otel.settings import Settings

_TIMEOUT_S: Final = 10.0


def resolved(settings: Settings, url: str | None) -> dict[str, Any]:
    """Changes to settings, by field, after which they mean the same in another process and directory.

    Args:
        settings: as they were loaded.
        url: the server's address, over the one that they hold.
    """
    return {
        "wandb_base_url": url or settings.wandb_base_url,
        "wandb_dir": (settings.wandb_dir or Path.cwd()).expanduser().absolute(),
    }


def without_secrets(settings: Settings) -> dict[str, Any]:
    """Changes to settings, by field, after which they may be kept on disk."""
    url = settings.wandb_base_url
    return {"wandb_base_url": url and without_credentials(url), "wandb_dir": settings.wandb_dir}


def is_in_netrc(url: str, path: Path | None) -> bool:
    """Whether there is a key for a server where `wandb login` puts it.

    Args:
        url: the server's address; W&B's client keeps its port among what it looks for.
        path: the file; None for the usual places.
    """
    places = [path] if path else [Path("~/.netrc"), Path("~/_netrc")]
    found = next((place.expanduser() for place in places if place.expanduser().is_file()), None)
    try:
        return found is not None and netrc.netrc(found).authenticators(urlsplit(url).netloc) is not None
    except (OSError, netrc.NetrcParseError):
        # W&B's client warns of it, and has no key either.
        return False


def check_reachable(url: str, proxies: Mapping[str, str | None]) -> None:
    """Fail at once where W&B's own client would try for as long as it may.

    Args:
        url: the server's address.
        proxies: W&B's own, by `http` and `https`; those of the environment count where it has none.

    Raises:
        TrackerUnavailableError: nobody answers.
    """
    import requests

    try:
        requests.get(url, timeout=_TIMEOUT_S, proxies={kind: proxy for kind, proxy in proxies.items() if proxy})
    except requests.exceptions.SSLError:
        # Somebody answers; which certificates are good is for W&B's client and its variables.
        return
    except requests.RequestException as error:
        raise TrackerUnavailableError(
            f"W&B at {without_credentials(url)} cannot be reached ({type(error).__name__}): is the server running, and "
            f"is there a network? WANDB_MODE=offline keeps the run in a folder"
        ) from None
