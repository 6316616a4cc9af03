"""Makes names that a tracker accepts from names as they were logged, and never the same for two of them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping


class Names:
    """A tracker's keys for exact names.

    A name gets the key that Lightning's logger for the tracker gives it. Only where another name has that key already,
    a hash of the exact name is added.

    Args:
        valid: returns the key of a name.
        longest: how many characters a key with a hash may have.
        known: exact names by key, from an earlier part of the same run.
    """

    def __init__(self, valid: Callable[[str], str], longest: int, known: Mapping[str, str] | None = None) -> None:
        self._valid = valid
        self._longest = longest
        self._holders = {key: (name, False) for key, name in (known or {}).items()}
        # Of these it is not known whether they are readings of GPU and host, or were logged.
        self._known = {name: key for key, name in (known or {}).items()}
        self._keys: dict[tuple[str, bool], str] = {}

    def key(self, name: str, *, is_system: bool = False) -> str:
        """The key for an exact name; always the same one.

        Args:
            name: as logged.
            is_system: whether it is a reading of GPU or host. A logged metric of the same name gets another key.
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
    """A key for a metric whose own key another one has already.

    Args:
        key: its own key.
        holder: its exact name, and whether it is a reading of GPU or host, as a logged metric may have the same name.
        longest: how many characters a key with a hash may have.
    """
    name, is_system = holder
    return with_hash(key, f"{name}\0" if is_system else name, longest)


def with_hash(key: str, name: str, longest: int) -> str:
    """A key that no other name gets: cut to the length `longest`, with a hash of the exact name at its end."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{key[: longest - len(digest) - 1]}_{digest}"
