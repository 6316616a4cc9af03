"""The code that runs: repository, revision, branch, and whether it was changed."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from tracelet_otel import semconv
from tracelet_otel._support.environment import environment
from tracelet_otel._support.guard import Guard, log
from tracelet_otel._support.text import encodable
from tracelet_otel.resource.changes import is_changed
from tracelet_otel.resource.remote import shown
from tracelet_otel.resource.repository import Repository


def vcs_attributes(directories: Iterable[Path], guard: Guard, patience_s: float) -> dict[str, str | bool]:
    """Resource attributes of the code that runs; what is not known is absent.

    Only whether the code was changed is asked of git, where it is installed. The rest is read from the repository's
    files.

    Args:
        directories: where the code may be; the first that is in a repository counts.
        guard: where errors are reported.
        patience_s: seconds that git may take to say whether the code was changed. The attribute is absent for a
            repository that takes longer.
    """
    found: dict[str, str | bool] = {}
    try:
        repository = Repository.find(directories)
    except Exception as error:
        guard.report("the code's repository cannot be read", _without_secrets(error))
        return found
    if repository is None:
        return found
    with closing(repository):
        for what, read in (("address", _remote), ("revision", _head)):
            try:
                found.update(read(repository))
            except Exception as error:
                guard.report(f"the {what} of the code is not recorded", _without_secrets(error))
        try:
            if semconv.VCS_REVISION in found:
                found.update(_state(repository, patience_s))
        except Exception as error:
            guard.report("whether the code was changed is not recorded", _without_secrets(error))
    return found


def _without_secrets(error: Exception) -> Exception | str:
    # For a malformed configuration, the error quotes a line, which may be an address with its password.
    return type(error).__name__ if isinstance(error, ValueError) else error


def _remote(repository: Repository) -> dict[str, str]:
    remotes = repository.remotes()
    address = shown(_text(remotes.get(b"origin") or next(iter(remotes.values()), b"")))
    return {semconv.VCS_REPOSITORY_URL: address} if address else {}


def _head(repository: Repository) -> dict[str, str]:
    revision, branch = repository.head()
    found = {semconv.VCS_REVISION: _text(revision)} if revision else {}
    if branch:
        found[semconv.VCS_REF_NAME] = _text(branch)
        found[semconv.VCS_REF_TYPE] = semconv.REF_TYPE_BRANCH
    return found


def _state(repository: Repository, patience_s: float) -> dict[str, bool]:
    changed = is_changed(repository.root, environment(), patience_s)
    if changed is None:
        log.debug("whether the code was changed is not known: there is no git, it refuses, or it takes too long")
        return {}
    return {semconv.VCS_DIRTY: changed}


def _text(raw: bytes) -> str:
    return encodable(raw.decode("utf-8", "surrogateescape"))
