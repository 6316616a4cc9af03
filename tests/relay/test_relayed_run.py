"""A run in the relay whose tracker is away, and the relay after it, which goes on from the journal."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

from tests.relay.simulated import RESOURCE, Rank, accept
from tests.support.disk import full_disk
from tests.support.mlflow_store import multiset, stored_run
from tests.support.waiting import wait_until
from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import TrackerUnavailableError
from tracelet_otel.exporters import registry
from tracelet_otel.exporters.mlflow.client import MlflowTracker
from tracelet_otel.exporters.mlflow.options import MlflowOptions
from tracelet_otel.protocol.account import Account
from tracelet_otel.relay.journal import Journal, JournalError
from tracelet_otel.relay.parts import part_of
from tracelet_otel.relay.phase import EndedError, Phase, TooLateError
from tracelet_otel.relay.run import RelayedRun
from tracelet_otel.settings import Settings
from tracelet_otel.system.tracker_view import SystemReadings


def run_on(path, settings: Settings):
    journal = Journal(path)
    run = RelayedRun(journal, Guard(), settings)
    run.resume(registry.trackers(registry.absolute(settings)), RESOURCE)
    return journal, run


@pytest.fixture
def away(tmp_path):
    """A run whose tracker cannot be reached, with values that wait for a tenth of a second."""
    journal, run = run_on(
        tmp_path / "r1.journal", Settings(backend_url="http://127.0.0.1:1", rank_timeout=0.1, export_interval=0.01)
    )
    # On a thread of its own, and in a new process only when MLflow is imported.
    wait_until(lambda: run.status.errors, 60, "the report that the tracker is away")
    yield journal, run
    run._deliveries.close(0)
    journal.close()


def points_after(tmp_path, database, away, *later) -> list:
    """What the tracker has once the next relay has delivered the journal, and what came later."""
    journal, before = away
    journal.close()
    _, run = run_on(tmp_path / "r1.journal", Settings())
    for part in later:
        accept(run, part)
    assert run.close(30)
    assert before.status.complete is False
    return stored_run(database).multiset


def pass_on(run) -> None:
    while run._merging.waiting:
        run.look()


def test_what_was_too_late_takes_nothing_along_in_the_next_relay(tmp_path, database, away):
    first, second = Rank(0), Rank(1)
    _, run = away
    accept(run, second.part())
    accept(run, first.logs(0, a=0.0))
    pass_on(run)
    accept(run, second.logs(0, a=10.0))
    assert list(run.status.errors) == [
        "mlflow does not answer; its readings are kept and sent again",
        "values of 'a' came too late to be merged",
        "'a' lacks values of ranks at step 0",
    ]
    accept(run, first.logs(1, a=0.0))
    accept(run, second.logs(1, a=10.0))
    assert points_after(tmp_path, database, away) == multiset([("a", 0, 0.0), ("a", 1, 5.0)])


def test_ranks_that_are_far_apart_in_the_journal(tmp_path, database, away, monkeypatch):
    monkeypatch.setattr("tracelet_otel.relay.merge._MOST_OPEN", 10)
    first, second = Rank(0), Rank(1)
    _, run = away
    for step in range(50):
        accept(run, first.logs(step, a=0.0))
        accept(run, second.logs(step, a=10.0))
    late = [first.logs(50, a=0.0), second.logs(50, a=10.0)]
    assert points_after(tmp_path, database, away, *late) == multiset(("a", step, 5.0) for step in range(51))


def test_a_body_is_taken_once_also_by_the_next_relay(tmp_path, database, away):
    first, second = Rank(0), Rank(1)
    _, run = away
    kept = [first.logs(0, a=0.0, b=1.0), second.logs(0, b=3.0)]
    for part in [*kept, *kept]:
        accept(run, part)
    found = points_after(tmp_path, database, away, *kept, second.logs(0, a=10.0))
    # The second rank's `a` is in a row of its own, before the first one has gone on to the next.
    assert found == multiset([("a", 0, 5.0), ("b", 0, 2.0)])


def test_readings_of_the_host_are_taken_once_and_stand_in_the_way_of_no_rank(tmp_path, database, away):
    """Their numbers are their own: a value of a rank has the same one, and waits for none of them."""
    first, second = Rank(0), Rank(1)
    _, run = away
    measured = SystemReadings()

    def collection(threads, step):
        first.measure(threads)
        data = measured.of(first.measured(), step)
        return part_of(encode_metrics(data).resource_metrics)

    kept = [collection(3, 0), first.logs(0, a=0.0), collection(5, 0), second.logs(0, a=10.0)]
    for part in [*kept, *kept]:
        accept(run, part)
    found = points_after(tmp_path, database, away, *kept, collection(7, 1))
    name = "system/process_threads"
    assert found == multiset([("a", 0, 5.0), (name, 0, 3.0), (name, 0, 5.0), (name, 1, 7.0)])


def test_a_last_word_that_overtakes_the_rows_before_it(tmp_path, database, away):
    """Collectors forward several requests at once."""
    owner, other = Rank(0, owns_run=True), Rank(1)
    _, run = away
    accept(run, owner.logs(0, a=0.0))
    accept(run, other.logs(0, a=2.0))
    rows = [owner.logs(1, a=4.0), other.logs(1, a=6.0)]
    for rank in (other, owner):
        rank.signals.outcome.settle("finished", None)
        rank.signals.outcome.end()
    accept(run, other.part())
    accept(run, owner.part())
    run.look()
    assert (run.known.ended, run.others_may_send) == (True, True)
    for part in rows:
        accept(run, part)
    assert not run.others_may_send
    assert run.status.errors.keys() == {"mlflow does not answer; its readings are kept and sent again"}
    assert points_after(tmp_path, database, away) == multiset([("a", 0, 1.0), ("a", 1, 5.0)])


def test_what_a_last_word_has_overtaken_takes_nothing_of_it_back(tmp_path, database, away):
    owner, other = Rank(0, owns_run=True), Rank(1)
    _, run = away
    accept(run, owner.part())
    accept(run, other.part())
    rows = [owner.logs(0, a=4.0), other.logs(0, a=6.0)]
    alive = [owner.part(), other.part()]
    for rank in (other, owner):
        rank.signals.outcome.settle("finished", None)
        rank.signals.outcome.end()
        accept(run, rank.part())
    for part in [*rows, *alive]:
        accept(run, part)
    assert not run.others_may_send
    assert run._members.outcome == "finished"
    run._phase = Phase.CLOSING
    # Signs of life that come after the end are nobody's fault.
    accept(run, alive[0])
    run._phase = Phase.OPEN
    assert points_after(tmp_path, database, away) == multiset([("a", 0, 5.0)])


def test_readings_of_the_host_are_no_rows(away):
    """They neither keep a run open nor open one that has ended."""
    first = Rank(0, owns_run=True)
    _, run = away
    accept(run, first.logs(0, a=0.0))
    first.measure(3)
    system = part_of(encode_metrics(SystemReadings().of(first.measured(), 0)).resource_metrics)
    before_s = run._new_row_s
    accept(run, system)
    assert run._new_row_s == before_s
    first.measure(4)
    readings = SystemReadings()
    readings.of(first.measured(), 0)
    late = part_of(encode_metrics(readings.of(first.measured(), 1)).resource_metrics)
    run._phase = Phase.CLOSING
    accept(run, late)
    run._phase = Phase.OPEN
    assert run.status.errors["readings of GPU and host came after the run's end"] == 1


def test_hyperparameters_are_in_order_whichever_relay_has_them(tmp_path, database, away):
    rank = Rank(0)
    _, run = away
    for value in (1, 2, 1):
        rank.signals.hparams.update({"lr": value, f"only {value}": 0})
    accept(run, rank.logs(0, a=1.0))
    rank.signals.hparams.update({"lr": 3})
    later = rank.logs(1, a=2.0)
    assert points_after(tmp_path, database, away, later) == multiset([("a", 0, 1.0), ("a", 1, 2.0)])
    stored = stored_run(database)
    assert (stored.params["lr"], stored.tags["tracelet.param.lr"]) == ("1", "3")
    assert stored.params.keys() == {"lr", "only 1", "only 2"}


def test_the_last_value_of_a_tag_stands_whichever_relay_has_it(tmp_path, database, away):
    rank, other = Rank(0), Rank(1)
    journal, run = away
    rank.signals.hparams.update({"lr": 1})
    for value in range(50):
        rank.signals.tags.update({"stage": str(value), "": "no name"})
        rank.signals.tags.describe(f"note {value}")
        accept(run, rank.part())
    other.signals.tags.update({"stage": "of rank 1", "only": "rank 1"})
    accept(run, other.part())
    accept(run, rank.logs(0, a=1.0))
    # What is kept of it does not grow with how often it was set.
    assert journal.state["tags"]["reports"] == [["stage", ["49", ""]], ["tracelet.note", ["note 49", ""]]]
    before = journal.state["hparams"]
    rank.signals.tags.update({"stage": "last", "later": "1"})
    assert points_after(tmp_path, database, away, rank.logs(1, a=2.0)) == multiset([("a", 0, 1.0), ("a", 1, 2.0)])
    stored = stored_run(database)
    tags = {name: stored.tags.get(name) for name in ("stage", "later", "only")}
    assert (tags, stored.note) == ({"stage": "last", "later": "1", "only": None}, "note 49")
    assert (stored.params, before["reports"]) == ({"lr": "1"}, [["lr", ["1", "int"]]])


def test_what_is_journalled_does_not_grow_with_hyperparameters(away):
    journal, run = away
    rank = Rank(0)
    accept(run, rank.logs(0, a=1.0))
    rank.signals.hparams.update({f"parameter {number}": number for number in range(300)})
    accept(run, rank.logs(1, a=2.0))
    accept(run, rank.logs(2, a=3.0))
    first, second, third = [len(content) for _, content in journal.unmerged()]
    assert max(second, third) <= first + 2
    assert len(journal.state["hparams"]["reports"]) == 300


def test_what_is_merged_while_the_disk_is_full_is_written_when_it_is_not(tmp_path, database, away):
    first, second = Rank(0), Rank(1)
    journal, run = away
    accept(run, first.logs(0, a=0.0))
    accept(run, second.part())
    with full_disk():
        # The first rank's value has waited for long enough.
        pass_on(run)
        with pytest.raises(JournalError, match="cannot be written"):
            accept(run, first.logs(1, a=1.0))
    assert journal.readings_after(0) == 0
    assert "values that are merged wait for room on the disk" in run.status.errors
    run.look()
    assert journal.readings_after(0) == 1
    later = [first.logs(2, a=2.0), second.logs(2, a=4.0)]
    assert points_after(tmp_path, database, away, *later) == multiset([("a", 0, 0.0), ("a", 2, 3.0)])


def test_what_was_too_late_is_so_for_the_next_relay_too(tmp_path, database, away):
    """Its part is still needed, for a sample that waits."""
    first, second = Rank(0), Rank(1)
    _, run = away
    accept(run, second.part())
    accept(run, first.logs(0, a=0.0))
    pass_on(run)
    second.record(0, a=10.0)
    accept(run, second.logs(1, a=10.0))
    found = points_after(tmp_path, database, away, first.logs(1, a=0.0))
    assert found == multiset([("a", 0, 0.0), ("a", 1, 5.0)])


def test_a_rank_is_waited_for_as_long_by_the_next_relay(tmp_path, database):
    """It need not be heard at once: a collector before it may pause for half a minute between two attempts."""
    ranks, now_s = [Rank(0), Rank(1)], [100.0]
    settings = Settings(rank_timeout=60)
    journal = Journal(tmp_path / "r1.journal")
    for parts in ([rank.logs(0, a=10.0 * number) for number, rank in enumerate(ranks)], [ranks[0].logs(1, a=0.0)]):
        run = RelayedRun(journal, Guard(), settings, lambda: now_s[0])
        run.resume(registry.trackers(registry.absolute(settings)), RESOURCE)
        for part in parts:
            accept(run, part)
        now_s[0] += 25
        run.look()
        run._deliveries.close(0)
    accept(run, ranks[1].logs(1, a=10.0))
    assert run.status.errors == {}
    journal.close()
    _, run = run_on(tmp_path / "r1.journal", settings)
    assert run.close(30)
    assert stored_run(database).multiset == multiset([("a", 0, 5.0), ("a", 1, 5.0)])


def test_a_rank_that_died_with_its_relay_is_waited_for_no_longer_than_any(tmp_path, database):
    """The next relay takes it for gone as well, and names no value for the lack of it."""
    ranks, now_s = [Rank(0), Rank(1)], [100.0]
    for rank in ranks:
        rank.train()
    parts = [ranks[0].logs(0, a=0.0), ranks[1].logs(0, a=10.0), ranks[1].logs(1, a=10.0)]
    journal = Journal(tmp_path / "r1.journal")
    assert RelayedRun(journal, Guard(), Settings(), lambda: now_s[0]).accept(parts) == [None, None, None]
    journal.close()
    settings = Settings(rank_timeout=60)
    run = RelayedRun(Journal(tmp_path / "r1.journal"), Guard(), settings, lambda: now_s[0])
    run.resume(registry.trackers(registry.absolute(settings)), RESOURCE)
    for step in (1, 2, 3):
        accept(run, ranks[0].logs(step, a=0.0))
        now_s[0] += 31
        run.look()
    accept(run, ranks[0].logs(4, a=0.0))
    assert run._merging.waiting == 0
    assert run.close(30)
    assert run.status.errors == {}
    means = [("a", 0, 5.0), ("a", 1, 5.0), ("a", 2, 0.0), ("a", 3, 0.0), ("a", 4, 0.0)]
    assert stored_run(database).multiset == multiset(means)


def test_ranks_of_the_attempt_before_are_waited_for_no_more(tmp_path, database):
    """Their values and those of the next attempt are not merged, and none is taken for one that has come before."""
    ranks = [Rank(0), Rank(1)]
    journal = Journal(tmp_path / "r1.journal")
    parts = [*(rank.logs(0, a=10.0 * number) for number, rank in enumerate(ranks)), ranks[0].logs(1, a=0.0)]
    before = RelayedRun(journal, Guard(), Settings())
    assert before.accept(parts) == [None, None, None]
    assert before._merging.waiting == 1
    journal.close()
    run = RelayedRun(Journal(tmp_path / "r1.journal"), Guard(), Settings(rank_timeout=60))
    run.reopen()
    assert run._merging.waiting == 0
    run.resume(registry.trackers(registry.absolute(Settings())), RESOURCE)
    for number in range(2):
        accept(run, Rank(number, attempt=2).logs(1, a=2.0 + 2 * number))
    assert run._merging.waiting == 0
    assert run.close(30)
    assert run.status.errors == {}
    assert stored_run(database).multiset == multiset([("a", 0, 5.0), ("a", 1, 0.0), ("a", 1, 3.0)])


def test_two_exports_of_one_rank_in_one_request_the_later_one_first(tmp_path, database, away):
    """As a collector may put them together."""
    first, second = Rank(0), Rank(1)
    _, run = away
    for step in range(2):
        accept(run, second.logs(step, a=10.0))
    requests = []
    for step in range(2):
        first.record(step, a=0.0)
        requests.append(first.request())
    together = requests[1]
    together.resource_metrics.extend(requests[0].resource_metrics)
    accept(run, part_of(together.resource_metrics))
    assert points_after(tmp_path, database, away) == multiset([("a", 0, 5.0), ("a", 1, 5.0)])


def test_two_requests_of_one_rank_the_later_one_first_are_in_order_in_the_next_relay(tmp_path, database, away):
    first, second = Rank(0), Rank(1)
    _, run = away
    rows = [second.logs(0, a=10.0), second.logs(1, b=20.0)]
    for part in reversed(rows):
        accept(run, part)
    found = points_after(tmp_path, database, away, first.logs(0, a=0.0), first.logs(1, b=0.0))
    assert found == multiset([("a", 0, 5.0), ("b", 1, 10.0)])


def test_a_start_that_fails_in_one_tracker_delivers_nothing_to_another(tmp_path, database, away):
    journal, before = away
    accept(before, Rank(0).logs(0, a=1.0))
    accept(before, Rank(1).logs(0, a=3.0))
    journal.close()
    journal = Journal(tmp_path / "r1.journal")
    waiting = journal.readings_after(0)
    run = RelayedRun(journal, Guard(), Settings())
    trackers = registry.trackers(registry.absolute(Settings()))
    trackers["other"] = MlflowTracker(Settings(), MlflowOptions(mlflow_tracking_uri="http://127.0.0.1:1"))
    with pytest.raises(TrackerUnavailableError):
        run.open(trackers, RESOURCE)
    assert (journal.readings_after(0), stored_run(database).points) == (waiting, [])
    assert stored_run(database).status == "KILLED"
    journal.close()


def test_what_waits_for_a_rank_at_the_end_wakes_a_delivery_that_sleeps(tmp_path, database):
    _, run = run_on(tmp_path / "r1.journal", Settings())
    first, second = Rank(0), Rank(1)
    accept(run, first.logs(0, a=1.0))
    accept(run, second.logs(0, a=3.0))
    wait_until(lambda: run.status.accounts["mlflow"].delivered == 1, 30, "the delivery")
    accept(run, first.logs(1, a=5.0))
    began_s = time.monotonic()
    assert run.close(60)
    assert time.monotonic() - began_s < 30
    assert stored_run(database).multiset == multiset([("a", 0, 2.0), ("a", 1, 5.0)])


def test_an_end_on_a_full_disk_says_what_is_missing(tmp_path, database):
    _, run = run_on(tmp_path / "r1.journal", Settings())
    accept(run, Rank(0).logs(0, a=1.0))
    accept(run, Rank(1).part())
    with full_disk():
        assert not run.close(0.3)
    assert run.status.unclosed == ["mlflow"]
    assert run.status.accounts["mlflow"].pending == 1
    assert "values that are merged wait for room on the disk" in run.status.errors
    _, later = run_on(tmp_path / "r1.journal", Settings())
    assert later.close(30)
    assert stored_run(database).multiset == multiset([("a", 0, 1.0)])


def test_a_journal_that_cannot_be_marked_is_delivered_again(tmp_path, database):
    class Full(Journal):
        """Its disk is full at the end: that of a tracker on the same machine would be, too."""

        def remember(self, state):
            if "complete" in state:
                raise JournalError("there is no room")
            super().remember(state)

    path = tmp_path / "r1.journal"
    run = RelayedRun(Full(path), Guard(), Settings())
    run.resume(registry.trackers(registry.absolute(Settings())), RESOURCE)
    accept(run, Rank(0).logs(0, a=1.0))
    accept(run, Rank(1).logs(0, a=1.0))
    assert run.close(30, marks=True)
    assert run.status.over
    assert run.status.errors == {"the journal does not know that all is delivered": 1}
    _, again = run_on(path, Settings())
    assert again.close(30)
    assert stored_run(database).multiset == multiset([("a", 0, 1.0)])


@pytest.mark.parametrize("backend", [["mlflow"], ["mlflow", "otlp"]])
def test_a_journal_of_0_1_0_is_delivered(tmp_path, database, backend):
    """Made by that version: `a` of step 0 is delivered, `b` is not, and step 1 waits for the second rank."""
    path = tmp_path / "r1.journal"
    shutil.copy(Path(__file__).parent / "data" / "0.1.0.journal", path)
    with closing(sqlite3.connect(path)) as connection, connection:
        query = "UPDATE state SET value = json_set(value, '$.backend', json(?)) WHERE key = 'settings'"
        connection.execute(query, (json.dumps(backend),))
    _, run = run_on(path, Settings(rank_timeout=600))
    assert run.status.accounts["mlflow"].delivered >= 1
    second = Rank(1)
    accept(run, second.logs(0, a=10.0, b=3.0))  # it has been there
    accept(run, second.logs(1, a=4.0, b=9.0))
    assert run.close(30)
    assert run.status.accounts["mlflow"] == Account(4, 0, 0, None)
    assert stored_run(database).multiset == multiset([("b", 0, 2.0), ("a", 1, 2.0), ("b", 1, 8.0)])
    assert stored_run(database).params["lr"] == "0.5"
    assert not path.exists()


def test_a_journal_of_0_1_0_that_cannot_be_read_is_named_and_left(tmp_path):
    path = tmp_path / "r1.journal"
    shutil.copy(Path(__file__).parent / "data" / "0.1.0.journal", path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE body SET content = ? WHERE id = 2", (b"no request",))
    with pytest.raises(JournalError, match="cannot be used: no OTLP metrics request"):
        Journal(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM body").fetchall() == [(3,)]


def test_what_comes_after_the_end(away):
    owner, other = Rank(0, owns_run=True), Rank(1)
    _, run = away
    accept(run, owner.logs(0, a=0.0))
    accept(run, other.logs(0, a=0.0))
    owner.signals.outcome.end()
    accept(run, owner.part())
    assert run.known.ended
    run.close(0)
    # What says nothing new is well.
    accept(run, owner.part())
    other.signals.outcome.settle("failed", None)
    accept(run, other.part())
    with pytest.raises(TooLateError, match="rank 0 has ended the run"):
        accept(run, other.logs(1, a=1.0))
    with pytest.raises(EndedError):
        accept(run, owner.logs(1, a=1.0))


def test_what_comes_while_a_run_is_closed_that_nobody_has_ended(away):
    owner, other = Rank(0, owns_run=True), Rank(1)
    _, run = away
    accept(run, owner.logs(0, a=0.0))
    run.close(0)
    # It may be opened again: nothing is refused for good.
    with pytest.raises(EndedError, match="nothing has come for long"):
        accept(run, other.logs(0, a=1.0))
