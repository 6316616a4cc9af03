"""`tracelet-otel tail`: the last values of a run, while it goes on and at its end."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import tracelet_otel as tracelet
from tests.support.quiet import quiet_trainer
from tests.support.trainings import loader, namespace, regression
from tests.support.waiting import wait_until
from tests.support.warm import WarmProcess
from tracelet_otel import semconv
from tracelet_otel.cli import main
from tracelet_otel.cli.found import FoundRun, RunState
from tracelet_otel.cli.picture import end_line, picture
from tracelet_otel.cli.tail import chosen
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.notice import LastValue, Notice, SeenProcess
from tracelet_otel.protocol.trainer_state import TrainerState

COMMAND = str(Path(sys.executable).with_name("tracelet-otel"))
CONFIG = {"export_interval": 0.1}
NOW_S = 1_000_000.0


def tail(*words: str) -> str:
    told = CliRunner().invoke(main, ["tail", *words], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    return told.stdout


def row(text: str, name: str) -> list[str]:
    (found,) = [line.split() for line in text.splitlines() if line.startswith(f"  {name} ")]
    return found


class Terminal:
    """A terminal in which a command runs."""

    def __init__(self, warm_server: Callable[[], str], *words: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = WarmProcess(
            warm_server(), [COMMAND, "tail", *words], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True
        )
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self.text = ""

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.read() or self.process.poll() is not None, 60, text)
        assert text in self.read(), (self.text, self.process.communicate())

    def read(self) -> str:
        with contextlib.suppress(OSError):  # there is nothing, or nobody writes any more
            self.text += os.read(self._ours, 65536).decode()
        return self.text

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=60)
        self.read()
        os.close(self._ours)
        return self.process.returncode or 0, errors


def test_a_training_shows_its_values_its_progress_and_what_its_time_goes_to(with_time, database):
    pl = namespace("lightning.pytorch")
    run = tracelet.start_logging("digits", project="commands", config=CONFIG)
    shown: list[str] = []

    class Look(pl.Callback):  # type: ignore[name-defined]
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 1:
                wait_until(lambda: "epoch 1, step 8, 50% done" in tail(run.id, "--once"), 60, "the first epoch")
                shown.append(tail("digits", "--once", "--system"))

    trainer = quiet_trainer(pl, max_epochs=2, callbacks=[Look()])
    trainer.fit(regression(pl), loader(), loader(16, seed=1))
    (text,) = shown
    assert text.startswith(f"digits ({run.id[:8]}) in commands: running for ")
    assert re.search(r"^mlflow: \d+ delivered, \d+ wait$", text, re.MULTILINE)
    assert row(text, "train/loss_step")[2] == row(text, "train/loss_epoch")[2] == row(text, "val/loss")[2] == "7"
    assert float(row(text, "val/loss")[1]) > 0
    assert re.search(r"^  [\d,]+ samples a second in each process \(\d+ s ago\)$", text, re.MULTILINE)
    assert re.search(r"^  a step of .* ms: .*forward \d+%", text, re.MULTILINE)
    assert "ended" not in text
    run.stop()


def test_a_terminal_is_drawn_in_place_until_the_run_ends(database, warm_server):
    run = tracelet.start_logging("live", config=CONFIG)
    run.log_metric("loss", 0.125, 3)
    wait_until(lambda: "0.125" in tail(run.id, "--once"), 60, "the value")
    following, stopped = (Terminal(warm_server, "live", "--every", "0.1") for _ in range(2))
    for one in (following, stopped):
        one.wait_for("0.125     3")
    stopped.process.send_signal(signal.SIGINT)
    assert stopped.end() == (130, "")
    run.log_metric("loss", 0.25, 4)
    following.wait_for("0.25     4")
    run.stop()
    assert following.end() == (0, "")
    blocks = following.text.split("\x1b[J")
    assert len(blocks) > 3
    # Each but the first begins where the one before began.
    for block in blocks[1:-1]:
        (up,) = re.findall(r"\x1b\[(\d+)A\r$", block)
        assert int(up) == block.count("\n"), block
    assert blocks[-1].replace("\r", "").rstrip().endswith("ended: finished")
    assert "mlflow: 2 delivered, 0 wait" in blocks[-1]


def test_a_pipe_gets_a_block_each_so_many_seconds(database, tmp_path, warm_server):
    run = tracelet.start_logging("piped", config=CONFIG)
    run.log_metric("loss", 0.125, 3)
    wait_until(lambda: "0.125" in tail(run.id, "--once"), 60, "the value")
    written = tmp_path / "written"
    with written.open("w") as output:
        command = [COMMAND, "tail", run.id, "--every", "0.2"]
        piped = WarmProcess(warm_server(), command, stdout=output, stderr=output, text=True)
    wait_until(lambda: written.read_text().count("piped (") > 2, 60, "three blocks")
    run.stop()
    assert piped.wait(60) == 0
    text = written.read_text()
    assert "\x1b" not in text
    assert text.endswith("ended: finished\n")
    assert text.count("ended: ") == 1


SEEN = SeenProcess(7, "a time")
TOLD = Notice(
    "0123456789abcdef",
    "a\x1b[2Jrun",
    "Default",
    "here",
    SEEN,
    backends=("one", "two"),
    start_unix_nano=round((NOW_S - 300) * 1e9),
    accounts={"one": Account(1234, 2, 5, "away")},
    urls={"one": "http://one/1"},
    trainer=TrainerState(1200, 3, 0.25, 900.0),
    values=(
        LastValue("b", 1 / 3, 1200, semconv.AXIS_TRAINER, round((NOW_S - 2) * 1e9), False),
        LastValue("a", float("nan"), 7, semconv.AXIS_USER, round((NOW_S - 600) * 1e9), False),
        LastValue("system/x", 5.0, 9, semconv.AXIS_TRAINER, round(NOW_S * 1e9), True),
        LastValue("time/forward", 0.03, 1200, semconv.AXIS_TRAINER, round((NOW_S - 3) * 1e9), False),
        LastValue("time/data_wait", 0.01, 1200, semconv.AXIS_TRAINER, round((NOW_S - 3) * 1e9), False),
        LastValue("time/setup", 0.0, 1200, semconv.AXIS_TRAINER, round((NOW_S - 3) * 1e9), False),
        LastValue("time/samples_per_second", 1234.5, 1200, semconv.AXIS_TRAINER, round((NOW_S - 3) * 1e9), False),
    ),
    told_unix_nano=round((NOW_S - 1) * 1e9),
)
PICTURE = """\
a?[2Jrun (01234567) in Default: running for 5 min, epoch 3, step 1,200, 25% done, 15 min left
one: 1,234 delivered, 5 wait, 2 refused; two: not known
one: http://one/1
  metric     value   step     age
  a            nan      7  10 min
  b       0.333333  1,200     2 s
  and 1 of GPU and host, with --system
  1,234 samples a second in each process (3 s ago)
  a step of 40 ms: forward 75%, data_wait 25%"""


def seen(state: RunState, **more: object) -> FoundRun:
    found = FoundRun(
        TOLD.run_id, state, True, TOLD.run_name, backends=TOLD.backends, accounts=TOLD.accounts, notice=TOLD
    )
    return FoundRun(**{**vars(found), **more})


def test_the_picture():
    assert picture(seen(RunState.RUNNING), TOLD, NOW_S) == PICTURE
    few = picture(seen(RunState.RUNNING), TOLD, NOW_S, most=1, with_system=True).splitlines()
    assert few[3:6] == ["  metric     value   step  age", "  b       0.333333  1,200  2 s", "  and 2 more"]
    head = picture(seen(RunState.RUNNING, has_relay=False), TOLD, NOW_S).splitlines()[0]
    assert "running for 5 min, its relay is gone, and has told this 1 s ago, epoch 3" in head
    ended = Notice(**{**vars(TOLD), "end_unix_nano": round((NOW_S - 180) * 1e9), "outcome": "failed", "values": ()})
    lines = picture(seen(RunState.ENDING), ended, NOW_S).splitlines()
    assert lines[0].endswith(": ended after 2 min, its relay delivers the rest, epoch 3, step 1,200, 25% done")
    assert lines[3:] == ["  nothing is logged yet"]
    assert end_line(seen(RunState.ENDED), ended) == "ended: failed"
    left = seen(RunState.WAITING, journal=Path("/j/r1.journal"))
    words = "ended: killed, or it did not say how it ended; what is not delivered waits for"
    assert end_line(left, TOLD) == f"{words} `tracelet-otel replay /j/r1.journal`"


def test_the_run_that_is_meant():
    def run(
        run_id: str, name: str | None = None, state: RunState = RunState.RUNNING, parent: str | None = None
    ) -> FoundRun:
        return FoundRun(run_id, state, name=name, parent_run_id=parent, notice=TOLD)

    runs = [
        run("kid0", "fold 1", parent="abc1"),
        run("old", "x", RunState.WAITING),
        run("abc1", "x1"),
        run("abc2", "abc"),
    ]
    assert chosen(runs, None).run_id == "abc1"
    assert chosen(runs[:2], None).run_id == "old"
    assert chosen(runs[:1], None).run_id == "kid0"
    assert [chosen(runs, word).run_id for word in ("abc1", "abc", "x", "x1", "fold", "k")] == [
        "abc1", "abc2", "old", "abc1", "kid0", "kid0",
    ]  # fmt: skip
    with pytest.raises(ConfigurationError, match=r"one of several runs: x1 \(abc1\), abc \(abc2\)"):
        chosen(runs, "ab")
    with pytest.raises(ConfigurationError, match="there is no run 'z'"):
        chosen(runs, "z")
    with pytest.raises(ConfigurationError, match="no run goes on here"):
        chosen([], None)
    told = CliRunner().invoke(main, ["tail", f"no run {time.time()}"])
    assert (told.exit_code, told.stdout) == (1, "")
