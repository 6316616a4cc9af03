"""Python's global random generator while exports arrive and while they fail: `draws.py ENDPOINT ENDPOINT_THAT_FAILS`.

In a process of its own, in which no stock exporter was used before.
"""

import random
import sys

from tests.support.sdk import exported
from tests.support.waiting import wait_until

from tracelet_otel.exporters.otlp.exporter import collector_exporter

random.seed(7)
before = random.getstate()
for endpoint in sys.argv[1:]:
    exporter = collector_exporter(endpoint)
    exporter.export(exported([{"a": 1.0}]))
    wait_until(lambda one=exporter: one.account.delivered or one.account.problem, 60, "an answer")
    account = exporter.account
    exporter.shutdown(timeout=0)
    print(account.delivered, account.problem)
assert random.getstate() == before
random.random()
assert random.getstate() != before
