"""Whether tracked files differ from the revision: as git says it, or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.identity.checkouts import FILE, checkout, git
from tests.support.waiting import wait_until
from tracelet_otel._support.guard import Guard
from tracelet_otel.resource.vcs import vcs_attributes


def state(code: Path) -> bool | None:
    guard = Guard()
    found = vcs_attributes([code], guard, 30.0).get("tracelet.vcs.dirty")
    assert guard.counts == {}
    assert found is None or isinstance(found, bool)
    return found


def staged(code: Path) -> None:
    (code / FILE).write_text("print(2)\n")
    git(code, "add", FILE)


def put_back_but_staged(code: Path) -> None:
    staged(code)
    (code / FILE).write_text("print(1)\n")


def added(code: Path) -> None:
    (code / "new.py").touch()
    git(code, "add", "new.py")


def to_be_added(code: Path) -> None:
    (code / "new.py").touch()
    git(code, "add", "--intent-to-add", "new.py")


def longer(code: Path) -> None:
    (code / FILE).write_text("print(1)\nprint(2)\n")


def executable(code: Path) -> None:
    (code / FILE).chmod(0o755)


def a_link(code: Path) -> None:
    (code / FILE).rename(code / "elsewhere.py")
    (code / FILE).symlink_to("elsewhere.py")


def a_directory(code: Path) -> None:
    (code / FILE).unlink()
    (code / FILE).mkdir()


def a_directory_is_a_link(code: Path) -> None:
    (code / "package").rename(code.parent / "elsewhere")
    (code / "package").symlink_to(code.parent / "elsewhere")


def another_target(code: Path) -> None:
    (code / "link").unlink()
    (code / "link").symlink_to("package")


def in_conflict(code: Path) -> None:
    git(code, "checkout", "-q", "-b", "other")
    staged(code)
    git(code, "commit", "-q", "-m", "other")
    git(code, "checkout", "-q", "main")
    (code / FILE).write_text("print(3)\n")
    git(code, "commit", "-q", "-a", "-m", "main")
    with pytest.raises(Exception, match="merge"):
        git(code, "merge", "other")


CHANGES: list[Callable[[Path], object]] = [
    staged,
    put_back_but_staged,
    added,
    to_be_added,
    longer,
    executable,
    a_link,
    a_directory,
    a_directory_is_a_link,
    another_target,
    in_conflict,
    lambda code: (code / FILE).unlink(),
    lambda code: shutil.rmtree(code / "package"),
    lambda code: git(code, "rm", "-q", FILE),
    lambda code: git(code, "rm", "-q", "--cached", FILE),
    lambda code: git(code, "mv", FILE, "moved.py"),
]


def touched(code: Path) -> None:
    os.utime(code / FILE, (1, 1))
    os.utime(code / "link", (1, 1), follow_symlinks=False)


def written_again(code: Path) -> None:
    (code / FILE).unlink()
    (code / FILE).write_text("print(1)\n")


def copied_with_times(code: Path) -> None:
    shutil.copytree(code, code.parent / "copy", symlinks=True)
    shutil.rmtree(code)
    (code.parent / "copy").rename(code)


def assumed(code: Path) -> None:
    git(code, "update-index", "--assume-unchanged", FILE)
    longer(code)


def sparse(code: Path) -> None:
    git(code, "sparse-checkout", "set", "--cone", "elsewhere")
    assert not (code / "package").exists()


def without_modes(code: Path) -> None:
    git(code, "config", "core.fileMode", "false")
    executable(code)


def without_links(code: Path) -> None:
    git(code, "config", "core.symlinks", "false")
    (code / "link").unlink()
    (code / "link").write_text(FILE)


NO_CHANGES: list[Callable[[Path], object]] = [
    lambda code: None,
    lambda code: (code / "untracked.py").touch(),
    lambda code: (code / "ignored.log").touch(),
    touched,
    written_again,
    copied_with_times,
    assumed,
    sparse,
    without_modes,
    without_links,
    lambda code: git(code, "update-index", "--index-version", "4"),
    lambda code: git(code, "pack-refs", "--all"),
]


@pytest.fixture
def code(tmp_path: Path) -> Path:
    code = checkout(tmp_path / "code")
    (code / ".gitignore").write_text("*.log\n")
    (code / "link").symlink_to(FILE)
    (code / "näme\udcff.py").write_text("")
    git(code, "add", ".")
    git(code, "commit", "-q", "-m", "more")
    return code


@pytest.mark.parametrize(("changes", "expected"), [(CHANGES, True), (NO_CHANGES, False)])
def test_a_change_is_what_git_takes_for_one(tmp_path, code, changes, expected):
    pristine = tmp_path / "pristine"
    code.rename(pristine)
    for number, change in enumerate(changes):
        place = tmp_path / str(number) / "code"
        shutil.copytree(pristine, place, symlinks=True)
        git(place, "update-index", "--refresh")
        change(place)
        assert state(place) is expected, f"{number}: {change}"
        assert git(place, "describe", "--always", "--dirty").endswith("-dirty") is expected, f"{number}: {change}"


@pytest.mark.parametrize("setting", ["core.splitIndex", "index.sparse"])
def test_an_index_without_all_files_is_one_like_any_other(code, setting):
    git(code, "config", setting, "true")
    if setting == "index.sparse":
        git(code, "sparse-checkout", "set", "--cone", "--sparse-index", "elsewhere")
        assert "package/" in git(code, "ls-files", "--sparse")
    else:
        git(code, "update-index", "--split-index")
    assert state(code) is False
    staged(code)
    assert state(code) is True


def test_another_repository_that_variables_name_is_not_asked(tmp_path, code, monkeypatch):
    other = checkout(tmp_path / "other")
    staged(other)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert state(code) is False


def test_who_ignores_children_is_told_the_same(tmp_path, code):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert state(code) is False
        (code / ".git" / "index").write_bytes(b"none")
        assert state(code) is None
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_the_index_is_not_written(code):
    """A commit that somebody makes meanwhile would find it locked."""
    touched(code)
    before = (code / ".git" / "index").read_bytes()
    assert state(code) is False
    assert (code / ".git" / "index").read_bytes() == before


def test_what_takes_too_long_is_ended_and_nothing_is_said(tmp_path, code):
    (code / ".gitattributes").write_text("*.bin filter=slow\n")
    (code / "weights.bin").write_text("1")
    git(code, "add", ".")
    git(code, "commit", "-q", "-m", "weights")
    git(code, "config", "filter.slow.clean", f"echo $$ > {tmp_path / 'pid'}; exec sleep 600")
    (code / "weights.bin").write_text("2")
    began_s = time.monotonic()
    assert "tracelet.vcs.dirty" not in vcs_attributes([code], Guard(), 0.5)
    assert time.monotonic() - began_s < 30
    wait_until(lambda: not psutil.pid_exists(int((tmp_path / "pid").read_text())), 30, "the filter's end")


def test_without_git_nothing_is_said(tmp_path, code, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    guard = Guard()
    found = vcs_attributes([code], guard, 30.0)
    assert "tracelet.vcs.dirty" not in found
    assert found["vcs.ref.head.name"] == "main"
    assert guard.counts == {}
