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
        self._holders = {key: (name, False) for key, name in (known or {}).items()}
        # Whether GPU and host or a training gave a name is not known of these.
        self._known = {name: key for key, name in (known or {}).items()}
        self._keys: dict[tuple[str, bool], str] = {}

    def key(self, name: str, *, is_system: bool = False) -> str:
        """The key for an exact name; always the same one.

        Args:
            name: as logged.
            is_system: whether it is a reading of GPU or host, which something logged may have the name of.
        """
        holder = name, is_system
        key = self._keys.get(holder)
        if key is None:
            key = self._known.pop(name, None) or self._new(holder)
            self._keys[holder], self._holders[key] = key, holder
        return key

    def _new(self, holder: tuple[str, bool]) -> str:
        key = self._valid(holder[0])
        if self._holders.get(key, holder) == holder:
            return key
        return key_apart(key, holder, self._longest)


def key_apart(key: str, holder: tuple[str, bool], longest: int) -> str:
    """A key for who finds the own one taken.

    Args:
        key: that somebody else has.
        holder: an exact name, and whether it is one of GPU and host, which something logged may have too.
        longest: how many characters a key with a hash may have.
    """
    name, is_system = holder
    return with_hash(key, f"{name}\0" if is_system else name, longest)


def with_hash(key: str, name: str, longest: int) -> str:
    """A key that no other name has: cut to a length, with a hash of the exact name at its end."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{key[: longest - len(digest) - 1]}_{digest}"
