"""Whether tracked files differ from the revision: as git says it, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.identity.checkouts import FILE, checkout, git
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


def of_same_size_and_time(code: Path) -> None:
    before = (code / FILE).stat()
    (code / FILE).write_text("print(2)\n")
    os.utime(code / FILE, ns=(before.st_atime_ns, before.st_mtime_ns))


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
    of_same_size_and_time,
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
        # Git goes by whole seconds, unless it was built otherwise, and may miss what happens within one.
        if change is not of_same_size_and_time:
            assert git(place, "describe", "--always", "--dirty").endswith("-dirty") is expected, f"{number}: {change}"


def test_a_change_right_after_a_commit_that_leaves_size_and_time(tmp_path):
    code = checkout(tmp_path)
    for number in range(2, 9):
        (code / FILE).write_text(f"print({number})\n")
        assert state(code) is True
        git(code, "commit", "-q", "-a", "-m", str(number))
        assert state(code) is False


@pytest.mark.parametrize("split", ["core.splitIndex", "index.sparse"])
def test_of_an_index_without_all_files_nothing_is_said(code, split):
    git(code, "config", split, "true")
    if split == "index.sparse":
        git(code, "sparse-checkout", "set", "--cone", "--sparse-index", "elsewhere")
        assert "package/" in git(code, "ls-files", "--sparse")
    else:
        git(code, "update-index", "--split-index")
    assert state(code) is None


def test_without_an_index_nothing_is_said(tmp_path, code):
    git(tmp_path, "clone", "-q", "--no-checkout", str(code), "clone")
    assert state(tmp_path / "clone") is None


def test_ends_of_lines_that_git_may_have_changed_are_no_change(code):
    git(code, "config", "core.autocrlf", "true")
    (code / FILE).write_bytes(b"print(1)\r\n")
    assert state(code) is None
    (code / FILE).write_bytes(b"print(2)\r\n")
    assert state(code) is True


def test_a_file_that_a_filter_makes_is_not_judged_and_no_filter_is_run(tmp_path, code):
    git(code, "config", "filter.made.clean", f"touch {tmp_path / 'run'}; cat")
    (code / ".gitattributes").write_text("*.bin filter=made\n")
    (code / "weights.bin").write_text("1")
    git(code, "add", ".")
    git(code, "commit", "-q", "-m", "weights")
    assert (tmp_path / "run").exists()
    (tmp_path / "run").unlink()
    assert state(code) is False
    (code / "weights.bin").write_text("2")
    assert state(code) is None
    (code / FILE).write_text("print(2)\n")
    assert state(code) is True
    assert not (tmp_path / "run").exists()


def test_a_large_file_that_was_touched_is_not_read(code, monkeypatch):
    monkeypatch.setattr("tracelet_otel.resource.worktree._MOST_BYTES", 4)
    touched(code)
    assert state(code) is None


def test_of_a_repository_with_longer_ids_nothing_is_said(tmp_path):
    git(tmp_path, "init", "-q", "-b", "main", "--object-format=sha256")
    (tmp_path / FILE).write_text("print(1)\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    # The oldest dulwich cannot read it at all, and says so.
    assert "tracelet.vcs.dirty" not in vcs_attributes([tmp_path], Guard(), 30.0)
