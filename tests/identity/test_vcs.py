"""Repository, revision and branch of the code that runs."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.identity.checkouts import FILE, checkout, git, revision
from tests.support.waiting import wait_until
from tracelet_otel._support.guard import Guard
from tracelet_otel.resource.vcs import vcs_attributes

PATIENCE_S = 30.0


def told(*directories: Path, patience_s: float = PATIENCE_S) -> dict[str, str | bool]:
    guard = Guard()
    found = vcs_attributes(directories, guard, patience_s)
    assert guard.counts == {}
    return found


def on_branch(directory: Path, branch: str = "main", *, dirty: bool = False) -> dict[str, str | bool]:
    return {
        "vcs.ref.head.revision": revision(directory),
        "vcs.ref.head.name": branch,
        "vcs.ref.head.type": "branch",
        "tracelet.vcs.dirty": dirty,
    }


def test_a_fresh_repository(tmp_path):
    code = checkout(tmp_path / "code")
    assert told(code) == told(code / "package") == on_branch(code)
    assert len(str(told(code)["vcs.ref.head.revision"])) == 40


def test_without_any_commit(tmp_path):
    assert told(checkout(tmp_path, commits=0)) == {"vcs.ref.head.name": "main", "vcs.ref.head.type": "branch"}


def test_a_detached_head_has_no_branch(tmp_path):
    code = checkout(tmp_path, commits=2)
    git(code, "checkout", "-q", "HEAD~1")
    assert told(code) == {"vcs.ref.head.revision": revision(code), "tracelet.vcs.dirty": False}


def test_a_branch_with_a_slash(tmp_path):
    code = checkout(tmp_path)
    git(code, "checkout", "-q", "-b", "feature/größe")
    assert told(code) == on_branch(code, "feature/größe")


def test_a_worktree_has_its_own_head_and_the_remote_of_all(tmp_path):
    code, other = checkout(tmp_path / "code"), tmp_path / "other"
    git(code, "remote", "add", "origin", "https://git.local/org/repo.git")
    git(code, "worktree", "add", "-q", "-b", "second", str(other))
    git(other, "commit", "-q", "--allow-empty", "-m", "second")
    (code / FILE).write_text("print(2)\n")
    url = {"vcs.repository.url.full": "https://git.local/org/repo"}
    assert told(other) == {**url, **on_branch(other, "second")}
    assert told(code) == {**url, **on_branch(code, dirty=True)}


def test_packed_references_and_objects(tmp_path):
    code = checkout(tmp_path)
    git(code, "gc", "-q")
    git(code, "pack-refs", "--all")
    assert not (code / ".git/refs/heads/main").exists()
    assert told(code) == on_branch(code)


def test_a_shallow_clone(tmp_path):
    code = checkout(tmp_path / "code", commits=3)
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{code}", "clone")
    assert told(tmp_path / "clone") == {"vcs.repository.url.full": f"file://{code}", **on_branch(code)}


def test_a_bare_repository_has_no_code(tmp_path):
    git(tmp_path, "clone", "-q", "--bare", str(checkout(tmp_path / "code")), "bare")
    assert told(tmp_path / "bare") == told(tmp_path / "bare" / "refs") == {}


def test_outside_of_any_repository(tmp_path):
    assert told(tmp_path) == told(tmp_path / "absent") == told() == {}


def test_the_first_directory_in_a_repository_counts(tmp_path):
    first, second = checkout(tmp_path / "first"), checkout(tmp_path / "second", commits=2)
    assert told(first, second) == on_branch(first)
    assert told(tmp_path, second, first) == on_branch(second)


def test_the_remote_is_origin_or_else_the_first(tmp_path):
    code = checkout(tmp_path)
    git(code, "config", "remote.pushDefault", "upstream")
    git(code, "remote", "add", "upstream", "git@git.local:upstream/repo.git")
    git(code, "remote", "add", "fork", "git@git.local:fork/repo.git")
    assert told(code)["vcs.repository.url.full"] == "https://git.local/upstream/repo"
    git(code, "remote", "add", "origin", "https://ada:sEcReT@git.local/org/repo.git")
    assert told(code)["vcs.repository.url.full"] == "https://git.local/org/repo"


def test_settings_of_its_user_do_not_put_a_credential_into_the_address(tmp_path, monkeypatch):
    code = checkout(tmp_path / "code")
    git(code, "remote", "add", "origin", "https://git.local/org/repo")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text('[url "https://sEcReT@git.local/"]\n insteadOf = https://git.local/\n')
    assert told(code)["vcs.repository.url.full"] == "https://git.local/org/repo"


def test_a_submodule_is_code_of_its_own(tmp_path):
    inner, outer = checkout(tmp_path / "inner", commits=2), checkout(tmp_path / "outer")
    git(outer, "submodule", "--quiet", "add", str(inner), "inner")
    git(outer, "commit", "-q", "-m", "a submodule")
    url = {"vcs.repository.url.full": f"file://{inner}"}
    assert told(outer / "inner") == {**url, **on_branch(inner)}
    assert told(outer) == on_branch(outer)
    (outer / "inner" / "untracked").touch()
    assert told(outer) == on_branch(outer)
    (outer / "inner" / FILE).write_text("print(2)\n")
    assert told(outer / "inner") == {**url, **on_branch(inner, dirty=True)}
    assert told(outer) == on_branch(outer, dirty=True)
    git(outer / "inner", "checkout", "-q", "--force", "HEAD~1")
    assert told(outer) == on_branch(outer, dirty=True)


def test_a_submodule_that_is_not_checked_out_is_no_change(tmp_path):
    inner, outer = checkout(tmp_path / "inner"), checkout(tmp_path / "outer")
    git(outer, "submodule", "--quiet", "add", str(inner), "inner")
    git(outer, "commit", "-q", "-m", "a submodule")
    git(outer, "submodule", "--quiet", "deinit", "inner")
    assert told(outer) == on_branch(outer)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
def test_a_repository_of_somebody_else(tmp_path):
    code = checkout(tmp_path / "code")
    expected = on_branch(code)
    for path in [code, *code.rglob("*")]:
        os.chown(path, 12345, 12345)
    # Git trusts nothing in it, as it may name programs to run.
    del expected["tracelet.vcs.dirty"]
    assert told(code) == expected


def test_without_the_object_of_its_revision(tmp_path):
    code = checkout(tmp_path)
    shutil.rmtree(code / ".git/objects")
    (code / ".git/objects").mkdir()
    expected = {
        "vcs.ref.head.revision": revision(code),
        "vcs.ref.head.name": "main",
        "vcs.ref.head.type": "branch",
    }
    guard = Guard()
    assert vcs_attributes([code], guard, PATIENCE_S) == expected
    assert guard.counts == {}


@pytest.mark.parametrize(
    ("file", "content", "kept"),
    [
        ("index", b"DIRC\0\0\0\2\0\0\0\7", {"vcs.ref.head.revision", "vcs.ref.head.name", "vcs.ref.head.type"}),
        ("HEAD", b"\xff nothing", {"vcs.repository.url.full"}),
        ("config", b"url = https://sEcReT@host/repo\n", set()),
        ("config", b"[core]\nrepositoryformatversion = 7\n", set()),
    ],
)
def test_of_a_corrupt_repository_all_is_told_that_can_be_read(tmp_path, caplog, file, content, kept):
    code = checkout(tmp_path)
    git(code, "remote", "add", "origin", "https://git.local/repo")
    (code / ".git" / file).write_bytes(content)
    guard = Guard()
    found = vcs_attributes([code], guard, PATIENCE_S)
    assert set(found) - {"vcs.repository.url.full"} == kept - {"vcs.repository.url.full"}
    assert "tracelet.vcs.dirty" not in found
    assert sum(guard.counts.values()) == len(caplog.records) <= 1
    assert "sEcReT" not in caplog.text


def test_a_worktree_without_its_repository(tmp_path, caplog):
    (tmp_path / ".git").write_text("gitdir: /nowhere/.git/worktrees/code\n")
    guard = Guard()
    assert vcs_attributes([tmp_path], guard, PATIENCE_S) == {}
    assert len(caplog.records) <= 1


def test_no_time_is_spent_on_the_state_of_a_large_repository(tmp_path):
    code = checkout(tmp_path)
    (code / FILE).write_text("print(2)\n")
    known = {name: value for name, value in on_branch(code).items() if name != "tracelet.vcs.dirty"}
    assert told(code, patience_s=0.0) == told(code, patience_s=1e-5) == known


def test_what_it_looks_at_is_left_as_it_is(tmp_path):
    code = checkout(tmp_path)
    git(code, "gc", "-q")

    def files():
        return {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in code.rglob("*")}

    before = files()
    # A file that were written now would have another time.
    wait_until(lambda: time.time_ns() > max(time_ns for time_ns, _ in before.values()) + 10_000_000, 10, "another tick")
    (told(code), told(code))
    assert files() == before
