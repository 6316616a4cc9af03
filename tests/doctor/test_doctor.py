"""What `tracelet-otel doctor` says of relays and journals that are there."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import tracelet_otel as tracelet
from tests.doctor.asking import doctor
from tests.relay.simulated import Rank
from tests.support.collector import Collector
from tests.support.sidecar import TOKEN, Relay
from tests.support.waiting import free_port, wait_until
from tracelet_otel._support.guard import Guard
from tracelet_otel.cli import main
from tracelet_otel.doctor.quantities import age, size
from tracelet_otel.errors import TraceletError
from tracelet_otel.protocol.files import entry_name
from tracelet_otel.relay.clock import Clock
from tracelet_otel.relay.figures import RelayFigures, RunFigures, TrackerFigures
from tracelet_otel.relay.journal import Journal
from tracelet_otel.relay.meter import RelayMeter
from tracelet_otel.relay.server import Application, HttpServer, listen
from tracelet_otel.session.calls import Address, HttpConnection


@pytest.fixture
def sidecar(tmp_path: Path, database: Path, warm_server: Callable[[], str], monkeypatch) -> Iterator[Relay]:
    """One that is started when its environment is complete."""
    monkeypatch.setenv("TRACELET_RELAY_TOKEN", TOKEN)
    relay = Relay(database, tmp_path, warm_server=warm_server)
    yield relay
    tracelet.stop_logging()
    if relay.process is not None and relay.process.poll() is None:
        relay.end(signal.SIGKILL)


def about_relay(*options: str) -> tuple[int, list[tuple[str, str]]]:
    told = doctor(*options)
    [findings] = [findings for title, findings in told.found.items() if title == "relay" or title.startswith("relay h")]
    return told.code, findings


def test_all_is_well(sidecar, tmp_path, monkeypatch):
    sidecar.start()
    endpoint = f"http://127.0.0.1:{sidecar.port}"
    with sidecar.join() as run:
        run.log_metric("loss", 0.5, 0)
        wait_until(lambda: run.accounts["mlflow"].delivered == 1, 30, "the value")
        journal = tmp_path / "journals/sidecar" / f"{run.id}.journal"
        told = doctor("--relay", endpoint)
        facts = told.facts
        [(level, text)] = told.about("journals in")
        assert (level, text.startswith(f"{journal} ("), text.endswith("): a relay has it open")) == ("ok", True, True)
        assert told.about(f"relay {endpoint}") == [("ok", "it answers, and takes the token")]
        assert told.about("backend mlflow") == [("ok", "the relay that is joined delivers to it")]
        assert told.code == 0
        figures = RelayFigures.from_line(json.dumps(facts[f"relay {endpoint}"]))
        assert (figures.runs.readings, figures.runs.open_runs) == (1, 1)
        assert figures.runs.trackers == {"mlflow": TrackerFigures()}
    monkeypatch.setenv("TRACELET_RELAY_ENDPOINT", endpoint)
    assert about_relay() == (0, [("ok", "it answers, and takes the token")])


def test_no_relay_and_no_journal(tmp_path):
    told = doctor()
    assert told.code == 0
    assert about_relay() == (0, [("ok", "no relay is named, so start_logging starts one for each run")])
    assert told.found[f"journals in {tmp_path}/journals"] == [("ok", "there is none, so nothing waits")]
    assert told.facts[f"journals in {tmp_path}/journals"] == {"journals": []}


def test_a_relay_that_is_behind_with_everything(sidecar, database, monkeypatch):
    monkeypatch.setenv("TRACELET_RANK_TIMEOUT", "0.1")
    monkeypatch.setenv("TRACELET_EXPORT_INTERVAL", "0.01")
    sidecar.start()
    address = Address(f"http://127.0.0.1:{sidecar.port}", TOKEN)
    ranks = Rank(0), Rank(1)
    for rank in ranks:
        rank._time = round((time.time() - 3600) * 1e9)

    def said() -> list[str]:
        code, findings = about_relay("--relay", address.endpoint)
        assert code == int(len(findings) > 1)
        assert {level for level, _ in findings[1:]} <= {"problem"}
        return [text for _, text in findings[1:]]

    def waits(text: str) -> bool:
        return text.startswith("mlflow: 3 readings wait, the first for 60 min")

    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as holder, HttpConnection() as connection:
        # Somebody else keeps the tracker's database for himself.
        holder.execute("BEGIN EXCLUSIVE")

        def send(rank: Rank, step: int, **values: float) -> None:
            rank.record(step, **values)
            assert connection.post(address, rank.request().SerializeToString()).status == 200

        for rank in ranks:
            send(rank, 0, a=1.0)
        send(ranks[0], 1, a=1.0)
        wait_until(lambda: "1 merged values lack a rank that runs" in said(), 30, "the end of the wait for rank 1")
        send(ranks[1], 1, a=1.0)
        for rank in ranks:
            send(rank, 2, a=1.0)
        late, lacking, waiting = said()
    assert late == "1 values of ranks came too late to be merged"
    assert lacking == "1 merged values lack a rank that runs"
    assert waits(waiting)
    wait_until(lambda: said() == [late, lacking], 60, "the delivery, once the tracker is back")


class BusyError(TraceletError):
    pass


AS_TEXT = """\
{title}
  ok       it answers, and takes the token
           -> look for the reason in its log; give it a faster disk, or divide the runs over several (docs/scale.md)
  problem  a: 5 readings were dropped before it had them, since a journal was full
           -> raise TRACELET_JOURNAL_LIMIT of the relay, in MiB, and see that the tracker answers
  problem  a: it has refused 3 readings (no such run)
           -> look for the first of them in the relay's log
  problem  a: 9 readings wait, the first for 2 h (no such run)
           -> see that the tracker answers at the address that the relay was given, and takes its credentials
  problem  b: it has refused 2 files
           -> look for the first of them in the relay's log
  problem  b: 1 readings wait, for a time that is not known
           -> see that the tracker answers at the address that the relay was given, and takes its credentials
    open runs                   1
    requests answered           0 with 200, 1 with 503
    readings taken              0
    values waiting for ranks    0
    journals                    0 B
    oldest value not delivered  0 s
    a                           9 waiting, lag 2 h, 8 refused, 5 of these dropped
    b                           1 waiting, lag unknown, 0 refused, 0 of these dropped

journals in {journals}
  ok       there is none, so nothing waits

6 problems, 1 note
"""


def test_what_a_relay_has_turned_away_dropped_and_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACELET_RELAY_TOKEN", TOKEN)
    trackers = {"a": TrackerFigures(9, 7200.0, 5, 8, "no such run"), "b": TrackerFigures(1, None, 0, 0, None, 2)}
    meter = RelayMeter(lambda: [RunFigures(open_runs=1, trackers=trackers)])
    application = Application(
        TOKEN, lambda requests: [BusyError("no room") for _ in requests], {}.get, Guard(), Clock(), meter
    )
    server = HttpServer(application, listen("127.0.0.1", 0))
    address = Address(f"http://127.0.0.1:{server.port}", TOKEN)
    try:
        with HttpConnection() as connection:
            assert connection.post(address, b"").status == 503
        told = doctor("--relay", address.endpoint)
        title = f"relay {address.endpoint}"
        assert (told.code, [level for level, _ in told.found[title]]) == (1, ["ok", *["problem"] * 6])
        texts = [text for _, text in told.found[title]]
        assert texts[1].startswith("it has answered 503 to 1 requests, last ")
        assert texts[2:] == [
            "a: 5 readings were dropped before it had them, since a journal was full",
            "a: it has refused 3 readings (no such run)",
            "a: 9 readings wait, the first for 2 h (no such run)",
            "b: it has refused 2 files",
            "b: 1 readings wait, for a time that is not known",
        ]
        assert told.facts[title]["requests"] == {"200": 0, "503": 1}
        text = CliRunner().invoke(main, ["doctor", "--relay", address.endpoint])
        assert text.exit_code == 1
        lines = [line for line in text.stdout.splitlines() if "503 to" not in line and "memory" not in line]
        assert lines[lines.index(title) :] == AS_TEXT.format(title=title, journals=tmp_path / "journals").splitlines()
    finally:
        server.stop()


def test_another_token(sidecar, monkeypatch):
    sidecar.start()
    monkeypatch.setenv("TRACELET_RELAY_TOKEN", "another-token-of-some-length")
    assert about_relay("--relay", f"http://127.0.0.1:{sidecar.port}") == (1, [("problem", "it refuses the token")])


def test_nobody_there(monkeypatch):
    monkeypatch.setenv("TRACELET_RELAY_TOKEN", TOKEN)
    monkeypatch.setenv("TRACELET_RELAY_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    assert about_relay() == (1, [("problem", "nothing answers there (NewConnectionError)")])


def test_a_collector_in_the_place_of_a_relay(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACELET_RELAY_TOKEN", TOKEN)
    collector = Collector(tmp_path, "http://127.0.0.1:1")
    collector.start()
    try:
        found = about_relay("--relay", collector.endpoint("http/protobuf"))
        assert found == (0, [("note", "a collector listens there, which tells nobody how far the delivery is")])
    finally:
        collector.stop()


def test_something_that_is_no_relay(mlflow_server, monkeypatch):
    monkeypatch.setenv("TRACELET_RELAY_TOKEN", TOKEN)
    found = about_relay("--relay", mlflow_server.uri)
    assert found == (1, [("problem", "what listens there is no relay of ours: it answers 404")])


def test_settings_that_are_wrong(monkeypatch):
    told = doctor("--relay", "http://127.0.0.1:1")
    [(title, text, _)] = told.mended()
    assert (told.code, title, list(told.found)[-1]) == (1, "settings", "settings")
    assert "TRACELET_RELAY_TOKEN" in text


def test_a_journal_that_waits_until_it_is_replayed(sidecar, tmp_path, database):
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as holder:
        sidecar.start()
        run = sidecar.join(stop_timeout=0.5)
        holder.execute("BEGIN IMMEDIATE")
        run.log_metric("loss", 0.5, 0)
        wait_until(lambda: run.accounts["mlflow"].pending == 1, 30, "the value")
        sidecar.end(signal.SIGKILL)
        run.stop()
    [journal] = (tmp_path / "journals/sidecar").glob("*.journal")
    before = [(path, path.read_bytes()) for path in sorted(journal.parent.iterdir())]
    title = f"journals in {tmp_path}/journals"
    asked = doctor()
    [(chapter, text, mend)] = asked.mended()
    assert (asked.code, chapter, mend) == (1, title, f"tracelet-otel replay {journal}")
    assert text.endswith(": no relay has it open, and what is in it is not delivered")
    files = [path for path, _ in before if path.name.removeprefix(journal.name) in ("", "-wal")]
    size_bytes = sum(path.stat().st_size for path in files)
    expected = {"path": str(journal), "size_bytes": size_bytes, "is_open": False, "files": 0}
    assert asked.facts[title] == {"journals": [expected]}
    told = CliRunner().invoke(main, ["doctor"]).stdout
    assert f"-> tracelet-otel replay {journal}\n" in told
    assert [(path, path.read_bytes()) for path in sorted(journal.parent.iterdir())] == before, "looking changes nothing"
    assert CliRunner().invoke(main, ["replay", str(journal)]).exit_code == 0
    assert doctor().found[title] == [("ok", "there is none, so nothing waits")]


def test_files_that_wait(tmp_path):
    journals = tmp_path / "journals"
    for run_id, number in (("waits", 3), ("unsent", 2), ("empty", 0)):
        for _ in range(number):
            (journals / f"{run_id}.files" / entry_name()).mkdir(parents=True)
    (journals / "empty.files").mkdir()
    Journal(journals / "waits.journal").close()
    found = doctor().found[f"journals in {journals}"]
    told = [(level, re.sub(r"\d+\.\d KiB", "SIZE", text)) for level, text in found]
    left = "no relay has it open, and what is in it is not delivered"
    assert told == [
        ("problem", f"{journals}/waits.journal (SIZE, 3 files): {left}"),
        ("note", f"{journals}/unsent.files: 2 files that a training sends to a relay elsewhere, or had not sent"),
    ]


def test_many_directories_of_files_that_wait(tmp_path):
    journals = tmp_path / "journals"
    for run in range(40):
        (journals / f"{run}.files" / entry_name()).mkdir(parents=True)
    what = f"40 directories *.files in {journals}: 40 files that a training sends to a relay elsewhere, or had not sent"
    assert doctor().found[f"journals in {journals}"] == [("note", what)]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "unknown"), (0.0, "0 s"), (119.4, "119 s"), (120.0, "2 min"), (7200.0, "2 h"), (200_000.0, "2 d")],
)
def test_ages(seconds, words):
    assert age(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"), [(None, "unknown"), (0, "0 B"), (2048, "2.0 KiB"), (5 * 2**20, "5.0 MiB"), (2**31, "2.0 GiB")]
)
def test_sizes(number, words):
    assert size(number) == words
