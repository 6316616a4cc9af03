"""A git repository as it lies on the disk. The one file that imports dulwich."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tracelet_otel.resource.worktree import Entry

if TYPE_CHECKING:
    from dulwich.attrs import GitAttributes
    from dulwich.repo import Repo

_BRANCHES: Final = b"refs/heads/"
_ID: Final = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")
_ID_LENGTH: Final = 40
"""Of an index with longer ids, the oldest dulwich makes nothing."""
_CONVERSIONS: Final = (b"filter", b"ident", b"working-tree-encoding")
"""Attributes of git's by which a file is other than what is committed of it."""


def prepare() -> None:
    """Import dulwich now, on the calling thread: a thread of ours would import it with the first repository."""
    import dulwich.config
    import dulwich.errors
    import dulwich.index
    import dulwich.object_store
    import dulwich.refs
    import dulwich.repo
    import dulwich.worktree  # noqa: F401


class Index:
    """What git has of each file, and when it wrote that down.

    Args:
        path: of the index.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.time_ns = path.stat().st_mtime_ns
        """When it was written, or before: a file that was changed since has another time."""

    def __iter__(self) -> Iterator[tuple[bytes, Entry]]:
        from dulwich.index import read_index

        with self._path.open("rb") as file:
            for entry in read_index(file):
                yield entry.name, entry


class Repository:
    """A repository with a working tree; read only.

    Args:
        repo: dulwich's.
    """

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self.root = repo.path
        """Where its files are."""

    @classmethod
    def find(cls, directories: Iterable[Path]) -> Repository | None:
        """The repository that the first of some directories is in; None where none has files in one."""
        from dulwich.errors import NotGitRepository
        from dulwich.repo import Repo

        for directory in directories:
            try:
                repo = Repo.discover(str(directory))
            except NotGitRepository:
                continue
            if not repo.bare:
                return cls(repo)
            repo.close()
        return None

    def close(self) -> None:
        """Close its files."""
        self._repo.close()

    def remotes(self) -> dict[bytes, bytes]:
        """Addresses by the names of remotes, in their order."""
        config = self._repo.get_config()
        names = [section[1] for section in config.sections() if section[0] == b"remote" and len(section) > 1]
        urls = {name: next(iter(config.get_multivar((b"remote", name), b"url")), b"") for name in names}
        return {name: url for name, url in urls.items() if url}

    def head(self) -> tuple[bytes | None, bytes | None]:
        """Revision and branch; None for what there is not."""
        from dulwich.refs import HEADREF

        chain, revision = self._repo.refs.follow(HEADREF)
        if revision and not _ID.fullmatch(revision):
            raise LookupError("HEAD names no revision")
        branch = chain[-1].removeprefix(_BRANCHES) if chain[-1].startswith(_BRANCHES) else None
        return revision, branch

    def index(self) -> Index | None:
        """Its index; None where it has none that can be read and has all files."""
        path = Path(self._repo.index_path())
        revision, _ = self.head()
        if not path.is_file() or any(path.parent.glob("sharedindex.*")) or len(revision or b"") != _ID_LENGTH:
            return None
        return Index(path)

    def committed(self) -> Iterator[tuple[bytes, int, bytes]]:
        """Path, mode and id of each file of the revision."""
        from dulwich.object_store import iter_tree_contents
        from dulwich.objects import Commit

        commit = self._repo[self._repo.head()]
        if not isinstance(commit, Commit):
            raise TypeError(f"HEAD is a {commit.type_name!r}")
        for file in iter_tree_contents(self._repo.object_store, commit.tree):
            yield file.path, file.mode, file.sha

    @classmethod
    def at(cls, path: Path) -> Repository | None:
        """The repository of a directory itself; None where it is none."""
        from dulwich.errors import NotGitRepository
        from dulwich.repo import Repo

        try:
            return cls(Repo(str(path)))
        except NotGitRepository:
            return None

    def says(self, setting: bytes) -> bool:
        """What its configuration says of its file system; true by default."""
        return bool(self._repo.get_config().get_boolean((b"core",), setting, True))

    def converts(self, path: bytes) -> bool:
        """Whether git makes something else of a file than what is committed of it."""
        attributes = self._attributes.match_path(path)
        return any(attributes.get(name) for name in _CONVERSIONS)

    @cached_property
    def _attributes(self) -> GitAttributes:
        return self._repo.get_gitattributes()
