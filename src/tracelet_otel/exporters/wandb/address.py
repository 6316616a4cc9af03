"""Whether W&B's server can be reached, and whether there is a key for it."""

from __future__ import annotations

import netrc
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tracelet_otel._support.redact import without_credentials
from tracelet_otel.errors import TrackerUnavailableError

_TIMEOUT_S: Final = 10.0


def netrc_key(url: str, path: Path | None) -> str | None:
    """The key for a server in the netrc file, where `wandb login` saves it; None where there is none.

    Args:
        url: the server's address; like W&B's client, it is looked up with its port.
        path: the file; None for the usual places.
    """
    places = [path] if path else [Path("~/.netrc"), Path("~/_netrc")]
    found = next((place.expanduser() for place in places if place.expanduser().is_file()), None)
    try:
        known = netrc.netrc(found).authenticators(urlsplit(url).netloc) if found is not None else None
    except (OSError, netrc.NetrcParseError):
        # W&B's client warns about such a file, and gets no key from it either.
        return None
    return None if known is None else known[2]


def check_reachable(url: str, proxies: Mapping[str, str | None]) -> None:
    """Fail at once where W&B's own client would retry until its timeout.

    Args:
        url: the server's address.
        proxies: those of W&B's settings, by `http` and `https`; where one is missing, the environment's is used.

    Raises:
        TrackerUnavailableError: no server answers.
    """
    import requests

    try:
        requests.get(url, timeout=_TIMEOUT_S, proxies={kind: proxy for kind, proxy in proxies.items() if proxy})
    except requests.exceptions.SSLError:
        # A server answers. Which certificates are accepted is decided by W&B's client and its variables.
        return
    except requests.RequestException as error:
        raise TrackerUnavailableError(
            f"W&B at {without_credentials(url)} cannot be reached ({type(error).__name__}): is the server running, and "
            f"is there a network? WANDB_MODE=offline keeps the run in a folder"
        ) from None
