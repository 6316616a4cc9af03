"""What a process prints, on its way to trackers: through the run's spool, as entries of the kind `console`.

An entry has the lines of a few seconds, each with its time. Beside the entries, the relay keeps a file for each rank
with all that it has printed so far, for trackers that keep text as a file. Standard library only, since the process
that reads the console imports nothing else.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tracelet_otel.protocol.files import FileKind, RunFile, SpoolEntry, put_entry

FOLDER: Final = ".console"
"""Directory of a spool with a file for each rank."""
PRINTING: Final = ".printing"
"""Directory of a spool with a file for each process that prints, which is locked as long as it may put lines there."""
LINES: Final = "lines.jsonl"
"""Name of the content of an entry."""
TAIL_LINES: Final = 200
"""So many of the last lines are kept with the reason of a failure."""
LONGEST: Final = 64 * 2**20
"""Of what a process prints so much is recorded, in bytes."""
_BEGUN: Final = ".begun-"
_JOINED: Final = ".joined"
_RANK: Final = re.compile(r"console(?:-rank(\d+))?(?:-.*)?\.log")


@dataclass(frozen=True, slots=True)
class ConsoleLine:
    """A line as it was left on the console, without its end."""

    time_unix_nano: int
    """When its end was printed, in nanoseconds since the epoch."""
    text: str
    stream: str = ""
    """`stdout` or `stderr`; empty where both lead to the same place, so that nobody can tell."""
    severity: int = 0
    """A severity number of OpenTelemetry, where the line says it; 0 where it does not."""


def file_name(rank: int, part: str = "") -> str:
    """Name in the run of the file with what a rank has printed.

    Args:
        rank: the rank.
        part: tells this part of a run from those that were there before it; empty for the first one.
    """
    return "-".join(filter(None, ("console", f"rank{rank}" if rank else "", part))) + ".log"


def rank_of(name: str) -> int:
    """The rank to which a name belongs that `file_name` has returned; 0 for any other."""
    found = _RANK.fullmatch(name)
    return int(found[1] or 0) if found else 0


def shown(line: ConsoleLine, rank: int) -> str:
    """A line where lines of several ranks are shown together."""
    return f"[rank {rank}] {line.text}" if rank else line.text


def put_lines(
    spool: Path, name: str, lines: Iterable[ConsoleLine], time_unix_nano: int, *, is_last: bool = False
) -> None:
    """Put lines into a spool.

    Args:
        spool: the spool.
        name: what `file_name` has returned.
        lines: the lines.
        time_unix_nano: after that of all entries before it, by which a relay on another machine orders them.
        is_last: whether there are no more.

    Raises:
        OSError: they cannot be written.
    """
    text = "".join(json.dumps([one.time_unix_nano, one.text, one.stream, one.severity]) + "\n" for one in lines)

    def write(target: Path) -> None:
        target.write_text(text, encoding="utf-8")

    put_entry(spool, RunFile(name, FileKind.CONSOLE, time_unix_nano, LINES, len(text), is_last=is_last), write)


@contextlib.contextmanager
def printing(spool: Path, name: str) -> Iterator[None]:
    """Say in a spool that lines may still come, for as long as this context is open, and this process lives.

    Args:
        spool: the spool.
        name: what `file_name` has returned.

    Raises:
        OSError: it cannot be written.
    """
    (spool / PRINTING).mkdir(mode=0o700, parents=True, exist_ok=True)
    with (spool / PRINTING / name).open("ab") as file:
        # On a file system without locks, nobody waits for what is still to come.
        _lock(file, is_alone=False)
        yield


def is_printing(spool: Path) -> bool:
    """Whether a process may still put lines into a spool, as it has said by `printing`."""
    for path in (spool / PRINTING).glob("*"):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            if not _lock(file, is_alone=True):
                return True
    return False


def _lock(file: IO[bytes], *, is_alone: bool) -> bool:
    """Lock a file until it is closed, alone or together with others; returns whether nobody else keeps that from it."""
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_NB | (fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH))
        except BlockingIOError:
            return False
        except OSError:
            pass
    return True


def read_lines(content: Path) -> list[ConsoleLine]:
    """The lines of an entry.

    Raises:
        OSError: they cannot be read.
    """
    return [ConsoleLine(*json.loads(line)) for line in content.read_text(encoding="utf-8").splitlines()]


def whole(file: RunFile, content: Path) -> Path:
    """The file with all that the rank of an entry has printed so far.

    Args:
        file: the entry's.
        content: the content of the entry.
    """
    entry = content.parent.parent
    return entry.parent / FOLDER / file.name


def join(entry: SpoolEntry) -> None:
    """Add the lines of an entry to the file that `whole` returns, unless they are there; later ones were not added yet.

    Raises:
        OSError: it cannot be read or written.
        ValueError: it is no entry with lines.
    """
    if entry.content is None:
        raise ValueError("it has no lines")
    text = "".join(f"{line.text}\n" for line in read_lines(entry.content)).encode("utf-8", "backslashreplace")
    path, mark = whole(entry.file, entry.content), entry.content.with_name(_JOINED)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with path.open("ab") as file:
        begin = mark.read_text() if mark.exists() else ""
        if begin:
            # An earlier relay may have been killed before or after it had added them.
            file.truncate(int(begin))
        else:
            # One that was killed here has added nothing, and may have left an empty mark.
            mark.write_text(str(file.tell()))
        file.write(text)


def was_begun(content: Path, tracker: str) -> bool:
    """Take note that an entry is about to be written to a tracker; returns whether an earlier relay has noted that.

    Then the tracker may have it, and whoever writes has to look: lines have no identity by which a store knows them.
    """
    mark = content.with_name(f"{_BEGUN}{tracker}")
    known = mark.exists()
    mark.touch()
    return known


def end_console(spool: Path, *, has_failed: bool) -> None:
    """Say in a spool that no more is printed, and keep the last lines apart where the run has failed.

    Args:
        spool: the spool.
        has_failed: whether it has.

    Raises:
        OSError: it cannot be written.
    """
    for path in sorted((spool / FOLDER).glob("*.log")):
        put_lines(spool, path.name, (), path.stat().st_mtime_ns, is_last=True)
        tail = _tail(path) if has_failed else b""
        if tail:
            name = f"{path.stem}-tail.txt"

            def write(target: Path, tail: bytes = tail) -> None:
                target.write_bytes(tail)

            put_entry(spool, RunFile(name, FileKind.FILE, path.stat().st_mtime_ns, name, len(tail)), write)


def _tail(path: Path) -> bytes:
    """The last lines of a file."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        read = 2**16
        while True:
            file.seek(max(0, size - read))
            lines = file.read().splitlines(keepends=True)
            if len(lines) > TAIL_LINES or read >= size:
                return b"".join(lines[-TAIL_LINES:])
            read *= 2
