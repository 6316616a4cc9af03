"""The address of a repository in a form that may be shown: for a browser, without credentials. Pure.

User and password cannot always be told apart from the rest of an address. Where they cannot, nothing is shown.
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
"""Maps the scheme of a git remote to the scheme that a browser uses for the repository."""
_NON_WEB_PORT: Final = ("ssh", "git+ssh", "ssh+git", "git")
"""Schemes whose port is of no use to a browser."""
_HOST: Final = r"(?P<host>\[[0-9A-Fa-f:.]+\]|[\w.-]{2,})"
_AUTHORITY: Final = re.compile(rf"{_HOST}(?::(?P<port>\d*))?")
_SHORT: Final = re.compile(rf"{_HOST}:(?P<path>[^:].*)")
"""An address in the short form of `scp`, `host:path`. A host has at least two characters, so `C:/x` does not match."""
_PATH: Final = re.compile(r"[^\s@?#]*")


def shown(remote: str) -> str | None:
    """Return the address of a remote in a form that may be shown; None where there is none.

    Args:
        remote: address of the remote as in git's configuration.
    """
    if remote.startswith("/"):
        return None if remote.startswith("//") else _without_suffix(f"file://{remote}")
    address, *options = re.split("[?#]", remote, maxsplit=1)
    if any("@" in option for option in options):
        # The `?` or `#` at which the address was split may be part of a password.
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
    port = "" if scheme in _NON_WEB_PORT or not found["port"] else f":{found['port']}"
    return _without_suffix(f"{_WEB_SCHEMES[scheme]}://{found['host']}{port}{slash}{path}")


def _of_short_form(address: str) -> str | None:
    found = _SHORT.fullmatch(address.rpartition("@")[2])
    if found is None or not _PATH.fullmatch(found["path"]):
        return None
    return _without_suffix(f"https://{found['host']}/{found['path'].lstrip('/')}")


def _without_suffix(address: str) -> str:
    return address.rstrip("/").removesuffix(".git").rstrip("/")
