"""How many processes of a container the kernel has killed because there was no memory.

Source: Linux, "Control Group v2", `memory.events`; "Memory Resource Controller", `memory.oom_control`; cgroups(7);
proc_pid_mountinfo(5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

_COUNT: Final = "oom_kill"
_V1: Final = "memory.oom_control"
_V2: Final = "memory.events"


@dataclass(frozen=True)
class MemoryKills:
    """A count of the kernel's, and what it was. It counts all processes of a control group, whoever they are."""

    path: str
    """The file that has it."""
    count: int
    """What it was."""

    @classmethod
    def of(cls, pid: int, proc: Path = Path("/proc")) -> MemoryKills | None:
        """The count of a process's control group as it is now; None where there is none.

        Args:
            pid: pid of the process.
            proc: where the kernel tells of processes.
        """
        try:
            groups = (proc / str(pid) / "cgroup").read_text()
            mounts = (proc / "self" / "mountinfo").read_text()
            counts = [(path, _read(path)) for path in _files(groups, mounts)]
        except (OSError, ValueError):
            return None
        return next((cls(str(path), count) for path, count in counts if count is not None), None)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any] | None) -> MemoryKills | None:
        """Read what the property `plain` returned."""
        return None if plain is None else cls(**plain)

    @property
    def plain(self) -> dict[str, Any]:
        """The same in a form that can be written as JSON."""
        return asdict(self)

    @property
    def now(self) -> MemoryKills:
        """The count as it is now; the same where it cannot be read any more."""
        count = _read(Path(self.path))
        return self if count is None else MemoryKills(self.path, count)

    @property
    def rise(self) -> str:
        """What says that a process was killed since; empty where nothing does."""
        now = self.now.count
        if now <= self.count:
            return ""
        rise = f"{_COUNT} in {self.path} rose from {self.count} to {now}"
        return f"a process of this container was killed for memory ({rise})"


def _files(groups: str, mounts: str) -> Iterator[Path]:
    """The files that may have the count, the right one first: a hybrid system has memory in one of two places."""
    for line in groups.splitlines():
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield from (place / _V1 for place in _places(path, mounts, "cgroup", "memory"))
        elif number == "0":
            yield from (place / _V2 for place in _places(path, mounts, "cgroup2", ""))


def _places(path: str, mounts: str, kind: str, option: str) -> Iterator[Path]:
    """Where a control group is mounted."""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        found, _, options = right.split(" ", 2)
        if found == kind and (not option or option in options.split(",")):
            root, point = left.split(" ")[3:5]
            inner = path.removeprefix(root.rstrip("/")) if f"{path}/".startswith(f"{root.rstrip('/')}/") else ""
            yield Path(point, inner.lstrip("/"))


def _read(path: Path) -> int | None:
    try:
        pairs = (line.split() for line in path.read_text().splitlines())
        return next(int(pair[1]) for pair in pairs if pair[0] == _COUNT)
    except (OSError, ValueError, IndexError, StopIteration):
        return None
