"""What an exporter does to the process that trains: nothing to its random numbers, its log and its children."""

from __future__ import annotations

import subprocess
import threading

import pytest

from tests.otlp.stream import Stream
from tests.support.sdk import exported
from tests.support.waiting import free_port, wait_until
from tracelet_otel.exporters.otlp import sender as otlp_sender
from tracelet_otel.exporters.otlp.exporter import collector_exporter


@pytest.mark.cold
def test_the_global_random_generator_is_untouched_by_success_and_failure(receiver, run):
    ended = run("draws.py", receiver.endpoint, f"http://127.0.0.1:{free_port()}")
    assert ended.returncode == 0, ended.stderr
    good, bad = ended.stdout.splitlines()
    assert good == "1 None"
    # Pauses were drawn.
    assert bad.startswith("0 ")
    assert bad != "0 None"


def test_an_endpoint_that_takes_nothing_does_not_fill_the_log(receiver, monkeypatch, caplog):
    monkeypatch.setattr(otlp_sender, "_FIRST_PAUSE_S", 0.01)
    receiver.ill = "401"
    exporter = collector_exporter(receiver.endpoint)
    exporter.export(exported([{"a": 1.0}]))
    wait_until(lambda: receiver.attempts >= 3, 30, "a third attempt")
    exporter.shutdown(timeout=0)
    ours = [record for record in caplog.records if record.name == "tracelet_otel"]
    assert [record.name for record in caplog.records if record not in ours] == []
    assert len(ours) == 2
    assert "takes nothing; values are kept and sent again" in ours[0].getMessage()
    assert "not today" in ours[0].getMessage()


@pytest.mark.cold
def test_a_forked_child_sends_nothing_and_ends_in_order(receiver, start):
    receiver.ill = "503"
    child = start("forks.py", receiver.endpoint, stdin=subprocess.PIPE)
    said = child.stdout.readline()
    receiver.ill = None
    # With this, its standard input ends.
    left, errors = child.communicate(timeout=60)
    assert (said + left).splitlines() == ["child 7", "parent 10 0"], errors
    assert [sample[-1] for sample in receiver.samples] == list(range(1, 11))
    assert {sample[0] for sample in receiver.samples} == {"loss", "acc/val"}


def test_its_thread_and_its_requests_make_no_spans(receiver):
    from opentelemetry.instrumentation.utils import is_instrumentation_enabled

    # A call that hung in an earlier test may not have noticed its end yet.
    before = set(threading.enumerate())
    stream = Stream(collector_exporter(receiver.endpoint))
    assert is_instrumentation_enabled()
    stream.end()
    assert not [one for one in set(threading.enumerate()) - before if one.name == "tracelet-otlp"]
