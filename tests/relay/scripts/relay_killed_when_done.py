"""A training whose relay is killed once it has delivered all, before it is asked: `relay_killed_when_done.py ROWS`."""

import sys
from pathlib import Path

from tests.support.relays import relays

import tracelet_otel as tracelet
from tracelet_otel.session.calls import fetch_status, wait_for

number = int(sys.argv[1])
run = tracelet.start_logging("done", config={"export_interval": 0.1})
for step in range(number):
    run.log_metric("loss", 1 / (step + 1), step)
address = run._role.connection.address
finish = run._role.finish


def kill_and_finish(deadline_s, say):
    assert wait_for(lambda: fetch_status(address, run.id).over, deadline_s + 30)
    (relay,) = relays(Path.cwd())
    relay.kill()
    return finish(deadline_s, say)


run._role.finish = kill_and_finish
run.stop()
assert run.accounts["mlflow"].delivered == number, run.accounts
assert not set(run.errors) - {"the relay could not be asked"}, run.errors
