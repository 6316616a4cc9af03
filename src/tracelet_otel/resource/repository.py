"""A git repository on disk. The only file that imports dulwich."""

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
    """Import dulwich now, on the calling thread; otherwise one of our own threads would import it at its first use."""
    import dulwich.config
    import dulwich.errors
    import dulwich.refs
    import dulwich.repo  # noqa: F401


class Repository:
    """A repository with a working tree, which is only read.

    Args:
        repo: dulwich's object for the repository.
    """

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self.root = repo.path
        """Directory of the working tree."""

    @classmethod
    def find(cls, directories: Iterable[Path]) -> Repository | None:
        """Open the repository that contains a directory.

        Args:
            directories: tried in this order.

        Returns:
            None where no directory is in a repository with a working tree.
        """
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
        """Close the repository's files."""
        self._repo.close()

    def remotes(self) -> dict[bytes, bytes]:
        """Addresses of the remotes by name, in the order of the configuration."""
        config = self._repo.get_config()
        names = [section[1] for section in config.sections() if section[0] == b"remote" and len(section) > 1]
        urls = {name: next(iter(config.get_multivar((b"remote", name), b"url")), b"") for name in names}
        return {name: url for name, url in urls.items() if url}

    def head(self) -> tuple[bytes | None, bytes | None]:
        """Revision and branch that are checked out; None for each that does not exist.

        Raises:
            LookupError: HEAD names something that is not a revision.
        """
        from dulwich.refs import HEADREF

        chain, revision = self._repo.refs.follow(HEADREF)
        if revision and not _ID.fullmatch(revision):
            raise LookupError("HEAD names no revision")
        branch = chain[-1].removeprefix(_BRANCHES) if chain[-1].startswith(_BRANCHES) else None
        return revision, branch
