"""Where the kernel counts the processes of a container that it has killed for memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tracelet_otel.relay.memory_kills import MemoryKills

EVENTS = "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 1\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"


def mount(root: str, point: Path, kind: str, options: str = "rw") -> str:
    return f"36 35 98:0 {root} {point} rw,noatime shared:1 - {kind} {kind} {options}\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """What the kernel tells of process 7."""
    for name in ("7", "self"):
        (tmp_path / "proc" / name).mkdir(parents=True)
    return tmp_path / "proc"


def place(proc: Path, groups: str, mounts: str, path: Path, content: str) -> None:
    (proc / "7" / "cgroup").write_text(groups)
    (proc / "self" / "mountinfo").write_text(mount("/", Path("/"), "ext4") + mounts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.mark.parametrize(
    ("groups", "mounted", "inner", "name"),
    [
        ("0::/user.slice/a.scope\n", [("/", "", "cgroup2", "rw")], "user.slice/a.scope", "memory.events"),
        # A container with a namespace of its own.
        ("0::/\n", [("/", "", "cgroup2", "rw")], "", "memory.events"),
        # One that sees the paths of its host, and only its own part of them.
        ("4:memory:/docker/1\n1:cpu:/docker/1\n", [("/docker/1", "", "cgroup", "rw,memory")], "", "memory.oom_control"),
        (
            "4:memory:/job/step\n0::/\n",
            [
                ("/", "unified", "cgroup2", "rw"),
                ("/", "cpu", "cgroup", "rw,cpu"),
                ("/", "memory", "cgroup", "rw,memory"),
            ],
            "memory/job/step",
            "memory.oom_control",
        ),
    ],
)
def test_both_versions_of_control_groups(tmp_path, proc, groups, mounted, inner, name):
    root = tmp_path / "cgroup"
    mounts = "".join(mount(top, root / point, kind, options) for top, point, kind, options in mounted)
    path = root / inner / name
    place(proc, groups, mounts, path, EVENTS if name == "memory.events" else CONTROL)
    kills = MemoryKills.of(7, proc)
    assert kills == MemoryKills(str(path), 2)
    assert MemoryKills.from_plain(kills.plain) == kills
    assert (kills.rise, kills.now) == ("", kills)
    path.write_text("oom_kill 4\n")
    rise = f"oom_kill in {path} rose from 2 to 4"
    assert kills.rise == f"a process of this container was killed for memory ({rise})"
    assert kills.now.rise == ""


def test_what_is_not_counted_is_not_known(tmp_path, proc):
    assert MemoryKills.of(8, proc) is None
    mounts = mount("/", tmp_path / "cgroup", "cgroup2")
    place(proc, "0::/\n", mounts, tmp_path / "cgroup" / "memory.events", "low 0\noom_kill x\n")
    assert MemoryKills.of(7, proc) is None
    # The control group is gone.
    assert MemoryKills(str(tmp_path / "none"), 0).rise == ""
    assert MemoryKills.from_plain(None) is None


def test_this_machine():
    kills = MemoryKills.of(os.getpid())
    assert kills is None or (Path(kills.path).is_file() and kills.rise == "")
