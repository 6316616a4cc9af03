"""Files of a training whose relay is on another machine: sent by HTTP into the spool that the relay has."""

from __future__ import annotations

import http.client
import io
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tracelet_otel as tracelet
from tests.support.mlflow_files import mlflow_files
from tests.support.mlflow_store import stored_runs
from tests.support.sidecar import TOKEN, Relay
from tests.support.torchrun import ranks_of_a_node
from tests.support.waiting import wait_until
from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import TrackerUnavailableError
from tracelet_otel.protocol.files import CONTENT, FileKind, RunFile, entry_name, entry_names, put_entry, read_entry
from tracelet_otel.protocol.requests import MalformedError
from tracelet_otel.relay.clock import Clock
from tracelet_otel.relay.meter import RelayMeter
from tracelet_otel.relay.server import Application, HttpServer, TakesBeside, listen
from tracelet_otel.relay.uploads import Uploads
from tracelet_otel.session.calls import Address
from tracelet_otel.session.outgoing import RelayFiles


@pytest.fixture
def sidecar(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path, warm_server: Callable[[], str]):
    home = tmp_path_factory.mktemp("sidecar")
    relay = Relay(shutil.copy(migrated_database, home / "mlflow.db"), home, warm_server=warm_server)
    relay.start()
    yield relay
    tracelet.stop_logging()
    if relay.process is not None and relay.process.poll() is None:
        relay.end(signal.SIGKILL)


def files_of(relay: Relay, run_id: str) -> dict[str, bytes]:
    return mlflow_files(f"sqlite:///{relay.database}", relay.database, run_id).files


def test_a_relay_that_is_joined_gets_all_files_of_a_run(sidecar, tmp_path):
    folder = tmp_path / "a folder"
    (folder / "deep er").mkdir(parents=True)
    (folder / "größe=1 %.txt").write_bytes(b"one")
    (folder / "deep er" / "two").write_bytes(b"2" * 3_000_000)
    with sidecar.join(project="files") as run:
        run.log_metric("loss", 1.0, 1)
        run.log_artifact(folder, "data/größe %")
        run.log_text("hello", "world")
        run.log_artifact(folder / "deep er" / "two")
    assert files_of(sidecar, run.id) == {
        "data/größe %/größe=1 %.txt": b"one",
        "data/größe %/deep er/two": b"2" * 3_000_000,
        "hello.txt": b"world",
        "two": b"2" * 3_000_000,
    }
    assert run.errors == {}
    assert list((tmp_path / "journals").rglob("*")) == []
    (stored,) = stored_runs(sidecar.database)
    assert stored.status == "FINISHED"


def test_a_relay_that_is_joined_gets_what_a_run_prints(sidecar):
    with sidecar.join(project="files", console=True) as run:
        for number in range(5000):
            os.write(1, f"line {number}\n".encode())
    assert run.errors == {}
    found = mlflow_files(f"sqlite:///{sidecar.database}", sidecar.database, run.id)
    assert found.console == {0: [f"line {number}" for number in range(5000)]}
    assert found.files == {}


def test_a_relay_that_is_started_again_gets_what_it_did_not_have(sidecar):
    run = sidecar.join(project="files")
    run.log_metric("loss", 1.0, 1)
    run.log_text("a", "1")
    wait_until(lambda: files_of(sidecar, run.id) == {"a.txt": b"1"}, 20, "the first file")
    sidecar.end(signal.SIGKILL)
    for number in range(5):
        run.log_text(f"b{number}", "2")
    sidecar.start()
    run.stop()
    wait_until(lambda: len(files_of(sidecar, run.id)) == 6, 60, "the others")
    assert run.errors.keys() <= {"relay takes no files; they are kept and sent again"}


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "relay" / "r1.files"


@pytest.fixture
def port(spool: Path) -> Iterator[int]:
    """Port of a relay that takes files of one run, and nothing else."""

    def spool_of(run_id: str) -> Path:
        if run_id != "r1":
            raise MalformedError("no such run")
        return spool

    async def refuse(*_: object) -> None:
        raise AssertionError("nothing else is sent")

    beside = TakesBeside(lambda _: None, Uploads(spool_of))
    application = Application(TOKEN, lambda _: [], {}.get, Guard(), Clock(), RelayMeter(list), beside)
    server = HttpServer(application, listen("127.0.0.1", 0))
    yield server.port
    server.stop()


@pytest.fixture
def relay_files(port: int) -> RelayFiles:
    made = RelayFiles(lambda: Address(f"http://127.0.0.1:{port}", TOKEN))
    made._prefix = "/v1/files/r1"
    return made


@pytest.fixture
def put(port: int) -> Callable[..., int]:
    """Puts a body to a path of a relay, and returns the status of the answer."""

    def put(path: str, body: bytes, token: str = TOKEN, method: str = "PUT", announced: int | None = None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.putrequest(method, f"/v1/files/{path}", skip_accept_encoding=True)
        connection.putheader("Authorization", f"Bearer {token}")
        connection.putheader("Content-Length", str(len(body) if announced is None else announced))
        connection.endheaders(body)
        # Where more is announced than is sent, there is no answer.
        status = connection.getresponse().status if announced is None else 0
        connection.close()
        return status

    return put


def described(content: str | None = "a.txt") -> bytes:
    return RunFile("a", FileKind.TEXT, 1, content).to_json().encode()


def test_an_entry_is_there_once_all_of_it_has_come(put, spool):
    name = entry_name()
    assert put(f"r1/{name}/a.txt", b"first") == 200
    assert put(f"r1/{name}/a.txt", b"once more") == 200
    assert entry_names(spool) == []
    assert put(f"r1/{name}", described()) == 200
    entry = read_entry(spool / name)
    assert (entry.file.name, entry.content.read_bytes()) == ("a", b"once more")


def test_what_comes_again_after_it_was_delivered_is_no_new_entry(put, spool):
    name = entry_name()
    for _ in range(2):
        assert put(f"r1/{name}/a.txt", b"content") == 200
        assert put(f"r1/{name}", described()) == 200
        shutil.rmtree(spool / name, ignore_errors=True)
    assert list(spool.iterdir()) == []


def test_what_an_earlier_relay_has_taken_is_taken_once(put, spool):
    """It was killed before it could answer, so the training sends it again."""
    spool.mkdir(parents=True)
    name = put_entry(spool, RunFile("a", FileKind.TEXT, 1, "a.txt"), lambda target: target.write_text("content"))
    assert put(f"r1/{name}/a.txt", b"content") == 200
    assert put(f"r1/{name}", described()) == 200
    assert [path.name for path in spool.iterdir()] == [name]


@pytest.mark.parametrize(
    "path",
    [
        "r1/{name}/../x",
        "r1/{name}/%2e%2e/x",
        "r1/{name}/a/%2E%2E/%2E%2E/%2E%2E/x",
        "r1/{name}//etc/passwd",
        "r1/{name}/a/./b",
        "r1/{name}/a%00b",
        "r1/..",
        "r1/.part-{name}/a",
        "r1/entry/a",
        "r1//a",
        "../r1/{name}/a",
        "other/{name}/a",
        "",
    ],
)
def test_no_path_leads_out_of_the_spool(put, spool, path):
    assert put(path.format(name=entry_name()), b"x") == 400
    outside = [found for found in spool.parent.rglob("*") if found.is_file()] if spool.parent.exists() else []
    assert outside == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", described("../x"), described("b.txt")])
def test_a_description_that_is_wrong_makes_no_entry(put, spool, body):
    name = entry_name()
    assert put(f"r1/{name}/a.txt", b"content") == 200
    assert put(f"r1/{name}", body) == 400
    assert entry_names(spool) == []


def test_only_who_has_the_token_puts_files(put, spool):
    assert put(f"r1/{entry_name()}/a.txt", b"x", token="wrong") == 401
    assert put(f"r1/{entry_name()}/a.txt", b"x", method="POST") == 405
    assert not spool.exists()


def test_a_body_that_breaks_off_leaves_no_file(put, spool):
    name = entry_name()
    assert put(f"r1/{name}/whole", b"x") == 200
    put(f"r1/{name}/half", b"a part", announced=1000)
    entry = spool / f".part-{name}" / CONTENT
    wait_until(lambda: [found.name for found in entry.iterdir()] == ["whole"], 20, "the end of the request")


def test_a_file_that_changes_while_it_is_sent_breaks_no_other(relay_files, spool):
    """As a log of which a hard link is sent, and to which the training writes."""
    for _ in range(5):
        names = [entry_name() for _ in range(3)]
        relay_files._put(f"{names[0]}/a.txt", io.BytesIO(b"x" * 300_000), 100_000)
        with pytest.raises(TrackerUnavailableError):
            relay_files._put(f"{names[1]}/a.txt", io.BytesIO(b"y" * 100), 100_000)
        relay_files._put(f"{names[2]}/a.txt", b"z", 1)
        found = [(spool / f".part-{name}" / CONTENT / "a.txt") for name in names]
        assert [path.exists() and path.stat().st_size for path in found] == [100_000, False, 1]


@pytest.mark.parametrize("journals", ["journals", "journals of rank {}"])
def test_each_rank_has_its_files_recorded_also_where_the_relay_is_elsewhere(start, database, tmp_path, journals):
    children = []
    for rank, told in enumerate(ranks_of_a_node(2)):
        own = {"TRACELET_JOURNAL_DIR": str(tmp_path / journals.format(rank))}
        children.append(start("logs_a_file.py", **told, **own))
    for child in children:
        output, errors = child.communicate(timeout=120)
        assert (child.returncode, output) == (0, "{}\n"), errors
    (run,) = stored_runs(database)
    found = mlflow_files(f"sqlite:///{database}", database, run.tags["tracelet.run.id"]).files
    assert found == {f"of rank {rank}.txt": b"text" for rank in range(2)}
    assert [path for path in tmp_path.glob("journals*/*") if path.suffix != ".log"] == []
