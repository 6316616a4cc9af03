"""Neither a tracker that is away nor a kill loses a file that is still on the disk, or doubles one."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.door import Door
from tests.support.mlflow_files import mlflow_files
from tests.support.mlflow_store import stored_runs
from tests.support.relays import relays
from tests.support.waiting import wait_until
from tracelet_otel import semconv
from tracelet_otel.cli import main
from tracelet_otel.protocol.files import entry_names

EXPECTED = {
    **{f"texts/{number}.txt": f"text {number}".encode() for number in range(5)},
    "data/a.bin": b"a" * 100_000,
    "data/b.bin": b"b",
}


@pytest.fixture
def door(mlflow_server):
    made = Door(mlflow_server.uri)
    made.ill_at = "mlflow-artifacts"
    yield made
    made.stop()


class Training:
    """A training that has logged its files, and a store that does not take them yet.

    Args:
        process: the training.
        door: leads to the store.
        directory: has the journals.
    """

    def __init__(self, process: subprocess.Popen[str], door: Door, directory: Path) -> None:
        self.process = process
        self._door = door
        self._directory = directory
        self.run_id = spool(directory).stem

    def end(self) -> None:
        """Let it end by itself."""
        _, errors = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, errors

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def kill_relay(self) -> None:
        (relay,) = relays(self._directory)
        relay.kill()

    def open_store(self) -> None:
        self._door.ill = None
        self._door.well_again.set()

    def wait_for_relay(self) -> None:
        wait_until(lambda: is_over(self._directory), 60, "the relay's end")


@pytest.fixture
def begin(start: Callable[..., subprocess.Popen[str]], door: Door, tmp_path: Path) -> Callable[..., Training]:
    """Starts the training, which has logged its files when this returns."""

    def begin(mode: str, ill: str = "hangs") -> Training:
        door.ill = ill
        child = start("leaves_files.py", door.uri, mode, stdin=subprocess.PIPE)
        assert child.stdout.readline() == "ready\n", child.stderr.read()
        return Training(child, door, tmp_path)

    return begin


def is_over(directory: Path) -> bool:
    """Whether no relay runs any more, and nothing waits; what a relay has logged may be there."""
    return not relays(directory) and not [one for one in (directory / "journals").iterdir() if one.suffix != ".log"]


def spool(directory: Path) -> Path:
    (found,) = (directory / "journals").glob("*.files")
    return found


def stored(mlflow_server, run_id: str) -> dict[str, bytes]:
    return mlflow_files(mlflow_server.uri, mlflow_server.database, run_id).files


def check(mlflow_server, run_id: str, status: str) -> None:
    (run,) = [one for one in stored_runs(mlflow_server.database) if one.tags.get(semconv.RUN_ID) == run_id]
    assert run.status == status
    assert stored(mlflow_server, run_id) == EXPECTED


def test_a_store_that_is_away_for_the_whole_run_gets_all_files_afterwards(begin, mlflow_server, tmp_path):
    training = begin("ends", ill="500")
    training.end()
    assert len(entry_names(spool(tmp_path))) == len(EXPECTED) - 1
    training.open_store()
    training.wait_for_relay()
    check(mlflow_server, training.run_id, "FINISHED")


def test_a_file_that_a_store_does_not_take_keeps_no_other_waiting(begin, door, mlflow_server):
    door.ill_at = "texts/2.txt"
    training = begin("waits", ill="503")
    others = {name: content for name, content in EXPECTED.items() if name != "texts/2.txt"}
    wait_until(lambda: stored(mlflow_server, training.run_id) == others, 60, "all others")
    training.open_store()
    training.end()
    training.wait_for_relay()
    check(mlflow_server, training.run_id, "FINISHED")


def test_a_file_that_a_store_never_takes_is_given_up_at_the_end(begin, door, mlflow_server, tmp_path):
    door.ill_at = "texts/2.txt"
    training = begin("ends", ill="500")
    training.end()
    training.wait_for_relay()
    others = {name: content for name, content in EXPECTED.items() if name != "texts/2.txt"}
    assert stored(mlflow_server, training.run_id) == others
    (log,) = (tmp_path / "journals").glob("*.log")
    assert log.read_text().count("mlflow has refused a file: 'texts/2' 16 times, while it took others: ") == 1


def test_a_training_that_is_killed_during_an_upload_has_all_files(begin, mlflow_server):
    training = begin("waits")
    training.kill()
    training.open_store()
    training.wait_for_relay()
    check(mlflow_server, training.run_id, "KILLED")


def test_a_relay_that_is_killed_during_an_upload_is_followed_by_one_that_goes_on(begin, mlflow_server):
    training = begin("waits")
    training.kill_relay()
    training.open_store()
    training.end()
    training.wait_for_relay()
    check(mlflow_server, training.run_id, "FINISHED")


def test_what_both_have_left_is_delivered_by_a_replay(begin, mlflow_server, tmp_path):
    training = begin("waits")
    training.kill_relay()
    training.kill()
    assert entry_names(spool(tmp_path))
    training.open_store()
    (journal,) = (tmp_path / "journals").glob("*.journal")
    done = CliRunner().invoke(main, ["replay", str(journal)])
    assert done.exit_code == 0, done.output
    assert list((tmp_path / "journals").glob("*.files")) == []
    check(mlflow_server, training.run_id, "KILLED")


def test_a_slow_store_has_the_two_best_and_the_last_in_the_end(run, door, mlflow_server, tmp_path):
    door.delay_s = 0.3
    done = run("saves_checkpoints.py", door.uri)
    assert done.returncode == 0, done.stderr
    run_id, best = done.stdout.splitlines()
    door.well_again.set()
    wait_until(lambda: is_over(tmp_path), 60, "the relay's end")
    found = mlflow_files(mlflow_server.uri, mlflow_server.database, run_id).checkpoints
    there = {path.name: path.read_bytes() for path in (tmp_path / "ck").iterdir()}
    assert {name: one.content for name, one in found.items()} == there
    assert len(there) == 3
    assert [one.path for one in found.values() if "best" in one.aliases] == [best]
    assert [name for name, one in found.items() if "latest" in one.aliases] == ["last.ckpt"]
    # Many were replaced by better ones while they waited, and were never uploaded.
    assert 3 <= sum(one.startswith("PUT") and one.endswith(".ckpt") for one in door.passed) < 20
