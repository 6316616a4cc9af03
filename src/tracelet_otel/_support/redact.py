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
_IN_TEXT: Final = re.compile(r"(?<=://)(?:[^\s/\"]{1,500}@(?:[^\s'\"]{1,500}@)?|[^\s'\"]{1,500}@)")
"""User and password of an address within a text. A password may contain any character: more may be hidden than that.
Here and below lengths are bounded, since otherwise there are texts for which a search takes minutes."""
_WITHOUT_SCHEME: Final = re.compile(r"^[\w.+-]+:[^\s/@]+@(?=[\w.-]+(?::\d+)?(?:/|$))")
"""User and password of an address without a scheme, which is a whole argument."""
_SHORTEST_SECRET: Final = 6
"""A shorter one may be a part of any word."""
HIDDEN: Final = "***"
"""What stands in the place of a secret."""
_VALUE: Final = r"""(?:"[^"\n]*"|'[^'\n]*'|[^\s"',;&}\])]+)"""
"""In a line: a text has as many lines without secrets as with them."""
_PART: Final = r"[\w.@/+~-]{0,60}"
_SURE: Final = (
    rf"{_PART}(?:secret|passw(?:or)?d|pass[_-]?phrase|passcode){_PART}"
    rf"|{_PART}(?:api|access|private|auth|session|refresh|bearer)[_-]?(?:keys?|tokens?)"
)
"""Words of names that say nothing else than that something is secret."""
_WORDS: Final = (
    rf"{_SURE}|{_PART}(?:key|token|pwd?|pass|cred(?:ential)?s?|auth|authorization|bearer|cookie|sig|signature|webhook)"
)
_SECRET_NAME: Final = re.compile(rf"(?:{_WORDS})", re.IGNORECASE)
"""Name of an argument whose value is secret. It hides too much rather than too little, as in `--sort-key`."""
_SURE_NAME: Final = re.compile(rf"(?:{_SURE})", re.IGNORECASE)
_BEFORE: Final = r"(?<![\w.@/+~-])"
_PAIR: Final = re.compile(rf"""{_BEFORE}(["']?(?:{_WORDS})["']?[ \t]*[:=][ \t]*){_VALUE}""", re.IGNORECASE)
"""A secret name and its value within an argument, as in JSON, a header, or the query of an address."""
_SURE_PAIR: Final = re.compile(rf"""{_BEFORE}(["']?(?:{_SURE})["']?[ \t]*[:=][ \t]*){_VALUE}""", re.IGNORECASE)
"""The same within a text, as in a line of code or a driver's message. A token may be one of a text, and a key any."""
_QUERY: Final = re.compile(rf"""(?<=[?&])((?:{_WORDS})=)[^\s&#'"]+""", re.IGNORECASE)
"""A secret name and its value in the query of an address."""
_HEADER: Final = re.compile(
    rf"""((?:authorization|cookie)["']?[ \t]*[:=][ \t]*)(?:"[^"\n]*"|'[^'\n]*'|\w{{1,20}}[ ]+{_VALUE}|[^\s"']+)""",
    re.IGNORECASE,
)
"""A header that has credentials, behind the name of their kind."""
_SURE_OPTION: Final = re.compile(
    rf"""{_BEFORE}(--?(?:{_SURE}|[\w-]{{0,60}}token)["']?,?[ \t]+)(?!-)(?:"[^"\n]*"|'[^'\n]*'|[^\s"',\])]+)""",
    re.IGNORECASE,
)
"""An option of a command line within a text, and its value, also where the arguments are shown as a list."""
_SHAPE: Final = re.compile(
    r"(?<![\w-])(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|hf_[A-Za-z0-9]{30,}|sk-[\w-]{20,}"
    r"|xox[abprs]-[\w-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}(?!\w)|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*)"
)
"""What has the form of a token: GitHub's, GitLab's, Hugging Face's, OpenAI's, Slack's, AWS's, and that of RFC 7519."""
_OPTION: Final = re.compile(r"--?[A-Za-z]")
"""Beginning of an argument that is an option, and not the value of the one before it."""


def is_secret_name(name: str) -> bool:
    """Whether the name of an argument says that its value is secret."""
    return bool(_SECRET_NAME.fullmatch(name))


def is_secret(name: str, value: object) -> bool:
    """Whether a value with a name is a secret: a text, or a number whose name says nothing else.

    A switch is none, as in `use_auth: true`, and a number may be the index of a token.
    """
    if isinstance(value, str):
        return bool(value) and is_secret_name(name)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and bool(_SURE_NAME.fullmatch(name))


def without_secrets(text: str, secrets: Iterable[str], *, by_name: bool = True) -> str:
    """Return a text without secrets.

    Hidden are those that are known, user and password of each address, and what has a token's form. So are values of
    names that say that they are secret: `password=X`, `"api_key": "X"`, `--token X`, `?sig=X` in an address,
    `Authorization: Bearer X`.
    The text keeps its number of lines.

    Args:
        text: any text.
        secrets: known ones. Those with less than six characters are passed over.
        by_name: whether to hide values of names that say that they are secret, which may be `None` or a default.
    """
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "\n".join([HIDDEN] * (secret.count("\n") + 1)))
    text = _SHAPE.sub(HIDDEN, _IN_TEXT.sub(f"{HIDDEN}@", text))
    for behind_a_name in (_HEADER, _QUERY, _SURE_PAIR, _SURE_OPTION) if by_name else (_QUERY,):
        text = behind_a_name.sub(rf"\1{HIDDEN}", text)
    return text


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
            plain = _WITHOUT_SCHEME.sub(f"{HIDDEN}@", argument)
            yield _PAIR.sub(rf"\1{HIDDEN}", without_secrets(plain, known))


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
