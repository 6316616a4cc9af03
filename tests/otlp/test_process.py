"""What an exporter does to the process that trains: nothing to its random numbers, its log and its children."""

from __future__ import annotations

import threading

from tests.otlp.stream import Stream
from tests.support.sdk import exported
from tests.support.waiting import free_port, wait_until
from tracelet_otel.exporters.otlp import OtlpExporter
from tracelet_otel.exporters.otlp_settings import HTTP, read
from tracelet_otel.exporters.otlp_stock import stock_exporter
from tracelet_otel.guard import Guard


def test_the_global_random_generator_is_untouched_by_success_and_failure(receiver, protocol, child):
    ended = child(
        """
import random, sys
random.seed(7)
before = random.getstate()
from tests.support.waiting import wait_until
from tests.support.sdk import exported
from tracelet_otel.exporters.otlp import OtlpExporter
for endpoint, timeout in (sys.argv[1], 30000), (sys.argv[2], 2500):
    exporter = OtlpExporter(endpoint)
    exporter.export(exported([{"a": 1.0}]))
    exporter.shutdown(timeout=timeout)
    print(exporter.account.delivered, exporter.account.problem)
assert random.getstate() == before
random.random()
assert random.getstate() != before
""",
        receiver.endpoint,
        f"http://127.0.0.1:{free_port()}",
        protocol=protocol,
    )
    assert ended.returncode == 0, ended.stderr
    good, bad = ended.stdout.splitlines()
    assert good == "1 None"
    # The jitter was drawn.
    assert bad.startswith("0 Transient error")


def test_the_stock_exporter_does_not_fill_the_log(receiver, caplog):
    receiver.ill = "401"
    exporter = OtlpExporter(receiver.endpoint)
    exporter.export(exported([{"a": 1.0}]))
    wait_until(lambda: receiver.attempts >= 3, 30, "a third attempt")
    exporter.shutdown(timeout=0)
    ours = [record for record in caplog.records if record.name == "tracelet_otel"]
    assert [record.name for record in caplog.records if record not in ours] == []
    assert len(ours) == 2
    assert "takes nothing; values are kept and sent again" in ours[0].getMessage()
    assert "not today" in ours[0].getMessage()


def test_a_stock_exporter_of_somebody_else_says_what_it_always_says(receiver, protocol, caplog):
    receiver.ill = "401"
    exporter = OtlpExporter(receiver.endpoint)
    settings = read({"OTEL_EXPORTER_OTLP_PROTOCOL": protocol}, receiver.endpoint)
    other, _ = stock_exporter(settings, Guard())
    thread = threading.Thread(target=other.export, args=(exported([{"a": 1.0}]),))
    thread.start()
    thread.join()
    other.shutdown()
    assert "Failed to export metrics" in caplog.text
    exporter.shutdown()
    caplog.clear()
    # The filter is gone with its exporter.
    import logging

    name = "http.metric_exporter" if protocol == HTTP else "grpc.exporter"
    filters = logging.getLogger(f"opentelemetry.exporter.otlp.proto.{name}").filters
    assert [one for one in filters if type(one).__module__.startswith("tracelet_otel")] == []


def test_a_forked_child_sends_nothing_and_ends_in_order(receiver, protocol, child):
    receiver.ill = "503"
    ended = child(
        """
import os, sys, threading
from tests.otlp.stream import Stream
from tests.support.sdk import exported
from tracelet_otel.exporters.otlp import OtlpExporter
exporter = OtlpExporter(sys.argv[1])
stream = Stream(exporter)
stream.log(5)
stream.collect()
pid = os.fork()
if not pid:
    stream.log(5)
    stream.collect()
    exporter.export(exported([{"child": 1.0}]))
    assert exporter.force_flush(0)
    exporter.shutdown()
    sys.exit(7)
killer = threading.Timer(30, os.kill, (pid, 9))
killer.start()
print("child", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
killer.cancel()
sys.stdin.readline()
stream.end()
print("parent", exporter.account.delivered, exporter.account.pending)
""",
        receiver.endpoint,
        protocol=protocol,
        when_it_says={"child 7\n": lambda: setattr(receiver, "ill", None)},
    )
    assert ended.stdout.splitlines() == ["child 7", "parent 10 0"], ended.stderr
    assert [sample[-1] for sample in receiver.samples] == list(range(1, 11))
    assert {sample[0] for sample in receiver.samples} == {"loss", "acc/val"}


def test_its_thread_and_its_requests_make_no_spans(receiver):
    from opentelemetry.instrumentation.utils import is_instrumentation_enabled

    stream = Stream(OtlpExporter(receiver.endpoint))
    assert is_instrumentation_enabled()
    stream.end()
    assert not [one for one in threading.enumerate() if one.name == "tracelet-otlp"]
