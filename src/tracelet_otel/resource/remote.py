"""The address of a repository as it may be shown: where a browser finds it, without credentials. Pure.

What the user and its secret are and what the address is, cannot always be told apart. Where it cannot,
nothing is shown.
"""

from __future__ import annotations

import re
from typing import Final

_WEB_SCHEMES: Final = {
    "http": "http",
    "https": "https",
    "git+https": "https",
    "ssh": "https",
    "git+ssh": "https",
    "ssh+git": "https",
    "git": "https",
}
"""By the scheme of a remote, as git names them, the scheme under which a browser finds the repository."""
_OTHER_PORT: Final = ("ssh", "git+ssh", "ssh+git", "git")
"""Of these schemes, the port is none that a browser could use."""
_HOST: Final = r"(?P<host>\[[0-9A-Fa-f:.]+\]|[\w.-]{2,})"
_AUTHORITY: Final = re.compile(rf"{_HOST}(?::(?P<port>\d*))?")
_SHORT: Final = re.compile(rf"{_HOST}:(?P<path>[^:].*)")
"""As for `scp`. A host has two characters at least, so `C:/x` is none."""
_PATH: Final = re.compile(r"[^\s@?#]*")


def shown(remote: str) -> str | None:
    """What may be said of a remote's address; None for nothing.

    Args:
        remote: as it stands in git's configuration.
    """
    if remote.startswith("/"):
        return None if remote.startswith("//") else _without_suffix(f"file://{remote}")
    address, *options = re.split("[?#]", remote, maxsplit=1)
    if any("@" in option for option in options):
        # The sign that cut it may have been a part of a password.
        return None
    scheme, mark, rest = address.partition("://")
    return _of_url(scheme.lower(), rest) if mark else _of_short_form(address)


def _of_url(scheme: str, address: str) -> str | None:
    authority, slash, path = address.partition("/")
    if scheme == "file":
        return None if authority else _without_suffix(f"file:///{path}")
    found = _AUTHORITY.fullmatch(authority.rpartition("@")[2])
    if scheme not in _WEB_SCHEMES or found is None or not _PATH.fullmatch(path):
        return None
    port = "" if scheme in _OTHER_PORT or not found["port"] else f":{found['port']}"
    return _without_suffix(f"{_WEB_SCHEMES[scheme]}://{found['host']}{port}{slash}{path}")


def _of_short_form(address: str) -> str | None:
    found = _SHORT.fullmatch(address.rpartition("@")[2])
    if found is None or not _PATH.fullmatch(found["path"]):
        return None
    return _without_suffix(f"https://{found['host']}/{found['path'].lstrip('/')}")


def _without_suffix(address: str) -> str:
    return address.rstrip("/").removesuffix(".git").rstrip("/")
