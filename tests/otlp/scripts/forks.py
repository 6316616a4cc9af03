"""A process that forks while exports of its own wait, and goes on when it is told: `forks.py ENDPOINT`."""

import os
import sys
import threading

from tests.otlp.stream import Stream
from tests.support.sdk import exported

from tracelet_otel.exporters.otlp.exporter import collector_exporter

exporter = collector_exporter(sys.argv[1])
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
