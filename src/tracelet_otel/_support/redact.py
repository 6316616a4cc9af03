"""Removes credentials from addresses, arguments and other text, so that these may be shown. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from math import inf
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
_WORDS: Final = (
    r"[\w.@/+~-]*(?:secret|passw(?:or)?d|passphrase)[\w.@/+~-]*"
    r"|[\w.@/+~-]*(?:key|(?:api|access|private)[_-]?keys|token|pwd|pass|credentials?|auth|authorization|bearer)"
)
_SECRET_NAME: Final = re.compile(rf"(?:{_WORDS})", re.IGNORECASE)
"""Name of an argument whose value is secret. It hides too much rather than too little, as in `--sort-key`."""
_PAIR: Final = re.compile(
    rf"""(?<![\w.@/+~-])(["']?(?:{_WORDS})["']?\s*[:=]\s*)"""
    r"""(?:(?:bearer|basic)\s+)?(?:"[^"]*"|'[^']*'|[^\s"',;&}\])]+)""",
    re.IGNORECASE,
)
"""A secret name and its value within an argument, as in JSON, a header, or the query of an address."""
_OPTION: Final = re.compile(r"--?[A-Za-z]")
"""Beginning of an argument that is an option, and not the value of the one before it."""


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


def without_secret_arguments(arguments: Iterable[str], secrets: Iterable[str]) -> Iterator[str]:
    """Yield the arguments of a command line without secrets.

    Hidden are the values of arguments whose names say that they are secret (`--api-key X`, `--token=X`,
    `db.password=X`, also in JSON or a header), known secrets, and user and password of addresses. What follows an
    option of several secrets, as `--api-keys X Y`, is hidden up to the next option.

    Args:
        arguments: the arguments, without the program.
        secrets: known secrets, as for `without_secrets`.
    """
    known = tuple(secrets)
    hidden = 0.0
    for argument in arguments:
        is_option = bool(_OPTION.match(argument))
        name, equals, value = argument.partition("=")
        if hidden and not is_option:
            hidden -= 1
            yield HIDDEN
        elif equals and value and _SECRET_NAME.fullmatch(name):
            hidden = 0
            yield f"{name}={HIDDEN}"
        else:
            hidden = _values_of(argument) if is_option and not equals else 0
            yield without_secrets(_PAIR.sub(rf"\1{HIDDEN}", argument), known)


def _values_of(option: str) -> float:
    """How many arguments behind an option are secret."""
    if not _SECRET_NAME.fullmatch(option):
        return 0
    return inf if option.lower().endswith("s") else 1


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
