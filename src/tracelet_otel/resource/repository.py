"""A git repository as it lies on the disk. The one file that imports dulwich."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dulwich.repo import Repo

_BRANCHES: Final = b"refs/heads/"
_ID: Final = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")


def prepare() -> None:
    """Import dulwich now, on the calling thread: a thread of ours would import it with the first repository."""
    import dulwich.config
    import dulwich.errors
    import dulwich.refs
    import dulwich.repo  # noqa: F401


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
