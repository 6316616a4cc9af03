"""Writes the checkpoints of a run to ClearML: each is an output model of the task."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from tracelet_otel.exporters.clearml.content import KeptFile, packed
from tracelet_otel.exporters.clearml.places import Places
from tracelet_otel.protocol.files import UNIQUE_ALIASES, RunFile, aliases_of, facts_of

FRAMEWORK: Final = "PyTorch"
ALIASES: Final = UNIQUE_ALIASES | {"top-k"}
"""Tags of a model that are ours; people may give it others."""


@dataclass(frozen=True)
class ModelEntry:
    """What is to be known of a checkpoint."""

    key: str
    """What tells it from others of the same name: the same for all versions of the file at one path."""
    name: str
    words: Sequence[str]
    """Those of `ALIASES` that hold for it."""
    facts: Mapping[str, str]
    """What is known of it, by name."""
    reference: str
    """Address of where the training has written it."""
    step: int | None
    """The trainer's step."""
    time_unix_nano: int
    keeper: str = ""
    """Which callback of the training keeps it, each of which has a best one and a last; empty for none."""
    is_package: bool = False
    """Whether its file in the store is an archive of a directory."""

    @property
    def comment(self) -> str:
        """What is known of it, for people."""
        return "\n".join(f"{name}: {value}" for name, value in self.facts.items())


@dataclass
class KnownWords:
    """What is to be known of a model when another one gets words."""

    keeper: str
    """As that of `ModelEntry`."""
    words: list[str]
    """Those of `ALIASES` that it has."""


class ModelStore(Protocol):
    """Where models are kept: a server, or a folder."""

    def keep(self, place: str, content: Path) -> KeptFile:
        """Store a file.

        Args:
            place: its path in the store. A file that is there is replaced.
            content: the file.
        """
        ...

    def model_words(self) -> dict[str, KnownWords]:
        """What each model of the task has, by its key."""
        ...

    def set_model(self, entry: ModelEntry, kept: KeptFile | None) -> None:
        """Store what is known of a model, and where its file is; None where it is not in the store."""
        ...

    def set_words(self, key: str, words: Sequence[str]) -> None:
        """Change those of `ALIASES` that a model has."""
        ...

    def remove_model(self, key: str) -> None:
        """Remove a model, and its file where that is in the store."""
        ...


class ClearmlCheckpoints:
    """The checkpoints of one task.

    Args:
        store: where models are kept.
        places: paths of files in it.
    """

    def __init__(self, store: ModelStore, places: Places) -> None:
        self._store = store
        self._places = places
        self._words = store.model_words()

    def write(self, file: RunFile, content: Path | None) -> None:
        """Store a checkpoint, or remove one that the training has removed.

        Args:
            file: what it is.
            content: its file or directory; None where it stays where the training has written it.
        """
        found = file.checkpoint
        assert found is not None  # noqa: S101
        key = hashlib.sha256(found.path.encode()).hexdigest()[:16]
        if found.is_removed:
            if key in self._words:
                self._store.remove_model(key)
                del self._words[key]
            return
        words = aliases_of(found)
        is_package = content is not None and content.is_dir()
        reference = found.path if "://" in found.path else f"file://{found.path}"
        keeper = "" if found.keeper is None else str(found.keeper)
        entry = ModelEntry(
            key, file.name, words, facts_of(file), reference, file.step, file.time_unix_nano, keeper, is_package
        )
        self._store.set_model(entry, None if content is None else self._keep(entry, content))
        self._words[key] = KnownWords(keeper, words)
        self._take_words(key, UNIQUE_ALIASES & set(words))

    def _keep(self, entry: ModelEntry, content: Path) -> KeptFile:
        with ExitStack() as stack:
            whole = stack.enter_context(packed(content)) if entry.is_package else content
            return self._store.keep(self._places.model(entry.key, whole.name), whole)

    def _take_words(self, owner: str, unique: frozenset[str]) -> None:
        """Take words that only one checkpoint of a callback can have from its others."""
        for key, known in self._words.items():
            kept = [word for word in known.words if word not in unique]
            if key != owner and known.keeper == self._words[owner].keeper and kept != known.words:
                self._store.set_words(key, kept)
                known.words = kept
