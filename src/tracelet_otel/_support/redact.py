"""Removes credentials from addresses, so that the addresses may be shown. Pure."""

from __future__ import annotations

import re
from typing import Final

_PORT: Final = re.compile(r"^(\[.*\]|[^:]*)(:\d*)?$")
_DATABASE_USER: Final = re.compile(r"([^:/]*(?::.*)?)@")
"""User and password, parsed as SQLAlchemy does: a password may contain any character."""
_SECRET: Final = re.compile("pass(word|wd)?$|^pwd$|secret|token", re.IGNORECASE)
"""Options of a database driver that hold secrets."""


def without_credentials(uri: str) -> str:
    """Return an address without user, password and secret options, also where they were not escaped."""
    scheme, mark, rest = uri.partition("://")
    if not mark or rest.startswith("/"):
        return uri  # a path
    if scheme in ("http", "https"):
        end = min((rest.find(sign) for sign in "/?#" if sign in rest), default=len(rest))
        is_address = "@" in rest[:end] or _PORT.search(rest[:end])
        user = rest[:end].rpartition("@")[0] if is_address else rest.rpartition("@")[0]
    else:
        found = _DATABASE_USER.match(rest)
        user = found.group(1) if found else ""
    return f"{scheme}://{_without_secret_options(rest[len(user) :].removeprefix('@'))}"


def _without_secret_options(rest: str) -> str:
    address, mark, query = rest.partition("?")
    kept = [option for option in query.split("&") if not _SECRET.search(option.partition("=")[0])]
    return address + mark + "&".join(kept) if any(kept) else address
