"""A training that is a child run: `child.py NAME CONFIG`. It does what the lines of its standard input say.

`log N` logs so many rows and waits until the relay has them, `trained` ends a training, `text` logs a file, and `stop`
ends the run.
"""

import json
import os
import sys

from tests.support.waiting import wait_until

import tracelet_otel as tracelet

name, config = sys.argv[1:]
run = tracelet.start_logging(name, config=json.loads(config))
print(run.id, flush=True)
logged = 0


backend = os.environ.get("BACKEND", "mlflow")


def has_all() -> bool:
    # A relay that was started again has none before it has its trackers.
    account = run.accounts.get(backend)
    return account is not None and account.delivered + account.pending == logged


for line in sys.stdin:
    what, *number = line.split()
    if what == "log":
        for step in range(logged, logged + int(number[0])):
            run.log_metric("loss", step / 3, step)
        logged += int(number[0])
        wait_until(has_all, 60, "that the relay has the rows")
    elif what == "trained":
        run._signals.outcome.training_ended(None)
        run._readers[0].collect()
        run._role.exporters[0].force_flush(30_000)
    elif what == "text":
        run.log_text("a", number[0])
    elif what == "stop":
        run.stop()
        assert run.errors == {}, run.errors
        assert run.accounts[backend].pending == 0
    print(what, flush=True)
