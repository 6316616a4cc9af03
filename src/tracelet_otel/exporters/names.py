"""Names that a tracker accepts, for names as they were logged: never one for two. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping


class Names:
    """A tracker's keys for exact names.

    A name becomes what the tracker's own logger makes of it; only where another name has that key
    already, a hash of the exact name is added.

    Args:
        valid: makes a key of a name.
        longest: how many characters a key with a hash may have.
        known: exact names by key, from an earlier part of the same run.
    """

    def __init__(self, valid: Callable[[str], str], longest: int, known: Mapping[str, str] | None = None) -> None:
        self._valid = valid
        self._longest = longest
        self._names_by_key: dict[str, str] = dict(known or {})
        self._keys_by_name = {name: key for key, name in self._names_by_key.items()}

    def key(self, name: str) -> str:
        """The key for an exact name; always the same one."""
        key = self._keys_by_name.get(name)
        if key is None:
            key = self._valid(name)
            if self._names_by_key.get(key, name) != name:
                key = with_hash(key, name, self._longest)
            self._names_by_key[key] = name
            self._keys_by_name[name] = key
        return key


def with_hash(key: str, name: str, longest: int) -> str:
    """A key that no other name has: cut to a length, with a hash of the exact name at its end."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{key[: longest - len(digest) - 1]}_{digest}"
