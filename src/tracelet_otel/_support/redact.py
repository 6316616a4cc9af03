"""Removes credentials from addresses and other text, so that these may be shown. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_PORT: Final = re.compile(r"^(\[.*\]|[^:]*)(:\d*)?$")
_DATABASE_USER: Final = re.compile(r"([^:/]*(?::.*)?)@")
"""User and password, parsed as SQLAlchemy does: a password may contain any character."""
_SECRET: Final = re.compile("pass(word|wd)?$|^pwd$|secret|token", re.IGNORECASE)
"""Options of a database driver that hold secrets."""


_IN_TEXT: Final = re.compile(r"(?<=://)[^\s'\"]+@")
"""User and password of an address within a text. A password may contain any character: more may be hidden than that."""
_SHORTEST_SECRET: Final = 6
"""A shorter one may be a part of any word."""
HIDDEN: Final = "***"
"""What stands in the place of a secret."""


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return a text without secrets: those that are known, and user and password of each address in it.

    Args:
        text: any text.
        secrets: known ones. Those with less than six characters are passed over.
    """
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    return _IN_TEXT.sub(f"{HIDDEN}@", text)


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
