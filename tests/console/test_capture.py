"""What a process prints is what its user sees, and is recorded: on real terminals, pipes and files."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.waiting import wait_until
from tracelet_otel._support.guard import Guard
from tracelet_otel.console import record
from tracelet_otel.console.passing import Passing
from tracelet_otel.protocol.console import FOLDER, ConsoleLine, end_console, join, put_lines, read_lines
from tracelet_otel.protocol.files import FileKind, entry_names, read_entry
from tracelet_otel.relay.files import RunFiles
from tracelet_otel.session.console.rest import pass_on

SCRIPTS = Path(__file__).parent / "scripts"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    (tmp_path / "r1.files").mkdir()
    return tmp_path / "r1.files"


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Arguments of `Popen` for a script."""

    def make(script: str, *arguments: object) -> dict[str, Any]:
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
        environment = {**os.environ, "PYTHONPATH": path}
        return {"args": [sys.executable, str(SCRIPTS / script), *map(str, arguments)], "env": environment}

    return make


class Terminal:
    """A terminal with a process in it, and what it shows."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.master, slave = os.openpty()
        self.resize(50, 120)
        self.process = subprocess.Popen(
            **options,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=take_terminal,  # noqa: PLW1509
        )
        os.close(slave)
        self.shown = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, text: bytes) -> None:
        while text not in self.shown:
            self.shown += os.read(self.master, 65536)

    def read_all(self) -> bytes:
        """All that is shown until nobody has the terminal open any more."""
        while True:
            try:
                part = os.read(self.master, 65536)
            except OSError:
                break
            if not part:
                break
            self.shown += part
        self.process.wait(30)
        os.close(self.master)
        return self.shown


def take_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def recorded(spool: Path, name: str = "console.log") -> str:
    """What entries have of a rank."""
    entries = [read_entry(spool / one) for one in entry_names(spool)]
    lines = [
        line
        for one in entries
        if one.file.kind is FileKind.CONSOLE and one.file.name == name and one.content
        for line in read_lines(one.content)
    ]
    return "".join(f"{line.text}\n" for line in lines)


def whole_of(spool: Path) -> str:
    return (spool / FOLDER / "console.log").read_text()


def same(shown: bytes) -> bytes:
    """Without what differs in any case between two processes."""
    return re.sub(rb"0x[0-9a-f]+|process \d+", b"", shown)


def test_a_terminal_shows_the_same_bytes_with_and_without(command, spool):
    without = Terminal(command("prints.py", "many_ways")).read_all()
    shown = Terminal(command("prints.py", "many_ways", spool)).read_all()
    assert same(shown) == same(without)
    assert b"terminal True True True (120, 50)" in shown
    text = recorded(spool)
    for line in ("raw out", "raw err", "of C", "of a shell", "its error", "by name", "worker 1", "bar 29"):
        assert f"\n{line}\n" in text
    # One channel keeps the order in which both streams were written.
    assert "".join(f"out {n}\nerr {n}\n" for n in range(200)) in text
    assert text.endswith("no end of line\n")
    assert "after" not in text


@pytest.mark.parametrize("joined", [True, False], ids=["one pipe", "two files"])
def test_pipes_and_files_get_the_same_bytes(command, spool, tmp_path, joined):
    def shown(*arguments: object) -> tuple[bytes, bytes]:
        options = command("prints.py", *arguments)
        if joined:
            done = subprocess.run(**options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
            return done.stdout, b""
        with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
            subprocess.run(**options, stdout=out, stderr=err, check=True)
        return (tmp_path / "out").read_bytes(), (tmp_path / "err").read_bytes()

    without, found = shown("many_ways"), shown("many_ways", spool)
    assert [same(one) for one in found] == [same(one) for one in without]
    streams = {
        line.text: line.stream
        for one in entry_names(spool)
        for line in read_lines(read_entry(spool / one).content or Path())
    }
    expected = ("", "") if joined else ("stdout", "stderr")
    assert (streams["raw out"], streams["raw err"]) == expected


@pytest.mark.parametrize("scenario", ["killed", "crashes"])
def test_what_was_printed_before_a_death_is_shown_and_recorded(command, spool, scenario):
    shown = Terminal(command("prints.py", scenario, spool)).read_all()
    without = Terminal(command("prints.py", scenario)).read_all()
    assert shown == without
    expected = ["before"] if scenario == "crashes" else ["before", "y" * 7999 + "…", "last words"]
    wait_until(lambda: entry_names(spool) != [], 10, "the lines")
    assert recorded(spool).splitlines() == expected


def test_a_relay_has_the_last_words_of_a_training_whose_children_live(command, spool):
    """A worker of a DataLoader notices after seconds that it is alone, and has the training's pipe open until then."""
    options = command("prints.py", "killed_beside_others", spool)
    with subprocess.Popen(**options, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as training:
        assert training.wait(60) == -signal.SIGKILL
        guard = Guard()
        RunFiles(spool, guard, joins_console=True).end(has_ended=False, has_failed=True)
        assert whole_of(spool) == "before\nlast words\nno end of line\n"
        assert guard.counts == {}
        shown, _ = training.communicate(b"of a child\n")
        assert shown == b"before\nlast words\nno end of lineof a child\n"


def test_who_holds_the_interpreters_lock_while_it_prints_goes_on(command, spool):
    done = subprocess.run(**command("prints.py", "holds_the_lock", spool), capture_output=True, timeout=60, check=True)
    assert done.stdout == b"z" * 5_000_000 + b"\ndone\n\nafter\n"


def test_ctrl_c_reaches_the_training_alone(command, spool):
    terminal = Terminal(command("prints.py", "interrupted", spool))
    terminal.read_until(b"begun")
    os.write(terminal.master, b"\x03")
    shown = terminal.read_all()
    assert shown.endswith(b"interrupted\r\n\r\nafter\r\n")
    assert recorded(spool) == "begun\ninterrupted\n"


def test_the_window_keeps_its_size(command, spool):
    options = command("prints.py", "waits", spool)
    terminal = Terminal(options)
    terminal.read_until(b"begun")
    terminal.resize(30, 77)
    (console,) = consoles_of(terminal.process.pid)
    size_of = Path(f"/proc/{terminal.process.pid}/fd/1")

    def size() -> tuple[int, int]:
        descriptor = os.open(size_of, os.O_RDONLY | os.O_NOCTTY)
        try:
            return tuple(os.get_terminal_size(descriptor))
        finally:
            os.close(descriptor)

    wait_until(lambda: size() == (77, 30), 10, "the new size")
    assert console.is_running()
    os.write(terminal.master, b"\n")
    assert terminal.read_all().endswith(b"goes on\r\n\r\nafter\r\n")


def consoles_of(pid: int) -> list[psutil.Process]:
    found = psutil.Process(pid).children()
    return [one for one in found if "tracelet_otel.console" in " ".join(one.cmdline())]


def test_a_console_process_that_is_killed_takes_nothing_with_it(command, spool):
    terminal = Terminal(command("prints.py", "waits", spool))
    terminal.read_until(b"begun")
    (console,) = consoles_of(terminal.process.pid)
    console.kill()
    wait_until(lambda: b"its process has ended" in terminal_read(terminal), 20, "the notice")
    os.write(terminal.master, b"\n")
    assert terminal.read_all().endswith(b"goes on\r\n\r\nafter\r\n")
    assert terminal.process.returncode == 0


def test_what_a_dead_console_process_has_left_is_passed_on_whole(spool):
    """Who reads it may take a part at a time, and never make a write wait."""
    content = os.urandom(500_000)
    (source, left), (shown, target) = os.pipe(), os.pipe()
    os.set_blocking(target, False)

    class Left:
        source: int
        target: int

        def put_back(self) -> None:
            pass

    place = Left()
    place.source, place.target = source, target

    def leave() -> None:
        with os.fdopen(left, "wb") as file:
            file.write(content)

    def rest() -> None:
        pass_on([place], lambda: None)
        os.close(target)

    threads = [threading.Thread(target=one) for one in (leave, rest)]
    for thread in threads:
        thread.start()
    with os.fdopen(shown, "rb") as file:
        found = file.read()
    for thread in threads:
        thread.join()
    os.close(source)
    assert found == content


def test_an_error_of_who_is_told_lines_is_counted_and_the_end_comes_at_once(command, spool):
    done = subprocess.run(**command("prints.py", "listener_is_broken", spool), capture_output=True, check=True)
    assert done.stdout == b"first\n{'lines of the console were not passed on': 1}\n"
    assert recorded(spool) == "first\n"


def test_an_error_in_what_is_recorded_is_said(spool):
    def tell(lines: list[ConsoleLine]) -> None:
        raise ValueError("a bug")

    made = record.Record([""], [], tell, lambda: None)
    made.place(spool, "console.log")
    made.add(0, b"line\n", 1)
    made.end()
    assert made.is_over.wait(20)
    assert made.problem == "ValueError('a bug')"


def terminal_read(terminal: Terminal) -> bytes:
    terminal.shown += os.read(terminal.master, 65536)
    return terminal.shown


def test_a_disk_that_takes_nothing_holds_nothing_up(spool, monkeypatch):
    """What is printed is passed on, however long an entry takes to be written."""
    may_write = threading.Event()
    monkeypatch.setattr(record, "put_lines", lambda *_: may_write.wait(60))
    made = record.Record([""], [], None, lambda: None)
    made.place(spool, "console.log")
    (source, printed), (shown, target) = os.pipe(), os.pipe()
    ended = threading.Event()
    passing = Passing(source, target, lambda data, time_ns: made.add(0, data, time_ns), ended.set)
    content = b"".join(b"line %07d\n" % number for number in range(3_000_000))

    def write() -> None:
        with os.fdopen(printed, "wb") as file:
            file.write(content)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(shown, "rb") as file:
        assert file.read(len(content)) == content
    writer.join()
    assert ended.wait(10)
    assert passing.drain(time.monotonic() + 10)
    os.close(target)
    may_write.set()
    made.end()
    assert made.is_over.wait(60)


@pytest.mark.parametrize("recorded_ranks", ["all", "first"])
def test_ranks_that_rank_0_starts_are_told_apart(command, spool, recorded_ranks):
    shown = Terminal(command("ranks.py", 0, spool, recorded_ranks)).read_all()
    assert shown == b"of rank 0 True\r\nof rank 1 True\r\nof rank 2 True\r\nall ranks have ended\r\n"
    assert recorded(spool) == "of rank 0 True\nall ranks have ended\n"
    if recorded_ranks == "all":
        assert [recorded(spool, f"console-rank{rank}.log") for rank in (1, 2)] == [
            "of rank 1 True\n",
            "of rank 2 True\n",
        ]
    else:
        assert {read_entry(spool / one).file.name for one in entry_names(spool)} == {"console.log"}


@pytest.mark.whole
@pytest.mark.parametrize("bar", ["tqdm", "rich"])
def test_the_progress_bar_of_a_trainer_is_what_it_was_last(command, spool, bar):
    Terminal(command("fits.py", bar, spool)).read_all()
    lines = recorded(spool).splitlines()
    (place,) = [number for number, line in enumerate(lines) if "`Trainer.fit` stopped" in line]
    assert lines[0] == "before"
    assert [line for line in lines[:place] if line.startswith("Epoch")] == []
    # As on a terminal: the message is behind the bar that is there, and the bar is drawn again.
    assert re.fullmatch(r"Epoch 1.* 16/16 .*`Trainer.fit` stopped: .*", lines[place])
    assert re.fullmatch(r"Epoch 1.* 16/16 .*", lines[place + 1])
    assert lines[place + 2 :] == ["after the fit"]


def test_no_process_and_no_directory_is_left(command, spool, tmp_path):
    options = command("prints.py", "many_ways", spool)
    options["env"]["TMPDIR"] = str(tmp_path)
    subprocess.run(**options, capture_output=True, check=True)
    wait_until(lambda: not list(tmp_path.glob("tracelet-*")), 10, "the end of the console process")


def test_the_last_lines_of_a_run_that_has_failed_are_kept_apart(spool):
    (spool / FOLDER).mkdir()
    lines = [f"line {number} größer\n" for number in range(5000)]
    (spool / FOLDER / "console.log").write_text("".join(lines))
    end_console(spool, has_failed=True)
    last, tail = [read_entry(spool / one) for one in entry_names(spool)]
    assert (last.file.kind, last.file.is_last) == (FileKind.CONSOLE, True)
    assert tail.file.name == "console-tail.txt"
    assert (tail.content or Path()).read_text() == "".join(lines[-200:])


def test_what_is_more_than_may_be_recorded_is_left_out_in_the_middle(spool, monkeypatch):
    monkeypatch.setattr(record, "LONGEST", 10_000)
    monkeypatch.setattr(record, "_AT_END", 1000)
    made = record.Record([""], [], None, lambda: None)
    made.place(spool, "console.log")
    for number in range(5000):
        made.add(0, f"line {number:04d}\n".encode(), 1_700_000_000_000_000_000 + number)
    made.end()
    assert made.is_over.wait(10)
    lines = recorded(spool).splitlines()
    assert lines[:900] == [f"line {number:04d}" for number in range(900)]
    assert lines[900] == "[tracelet-otel: 4000 lines were left out here, as more was printed than is recorded]"
    assert lines[901:] == [f"line {number:04d}" for number in range(4900, 5000)]


def test_lines_are_joined_once_wherever_a_relay_is_killed(spool):
    for number in range(3):
        put_lines(spool, "console.log", [ConsoleLine(number, f"größe {number}")], number)
    entries = [read_entry(spool / one) for one in entry_names(spool)]
    expected = "größe 0\ngröße 1\ngröße 2\n"
    for _ in range(2):
        for entry in entries:
            join(entry)
        assert whole_of(spool) == expected
    # Killed in the middle of the last one, of which the mark is there.
    with (spool / FOLDER / "console.log").open("r+b") as file:
        file.truncate(len(expected.encode()) - 3)
    join(entries[2])
    assert whole_of(spool) == expected
    # Killed before the mark of the next one was written.
    put_lines(spool, "console.log", [ConsoleLine(3, "last")], 3)
    last = read_entry(spool / entry_names(spool)[-1])
    last.content.with_name(".joined").touch()
    join(last)
    assert whole_of(spool) == f"{expected}last\n"


def test_a_reader_that_goes_away_ends_nothing(command, spool):
    """Without us, the next line would raise an error in the training."""
    options = command("prints.py", "waits", spool)
    with subprocess.Popen(**options, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.stdout.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        wait_until(lambda: "goes on" in recorded(spool), 10, "the line")
        process.send_signal(signal.SIGKILL)
