"""How a process has ended, as far as one that is not its parent can know it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.support.kernel import keeps_exit_status
from tests.support.waiting import wait_until
from tracelet_otel._support.processes import is_alive, started
from tracelet_otel.relay.exit_status import ExitStatus

ENDS = [
    (["-c", "import os; os.kill(os.getpid(), 9)"], signal.SIGKILL),
    (["-c", "import sys; sys.exit(3)"], 3 << 8),
    (["-c", ""], 0),
]


@pytest.mark.parametrize(("arguments", "status"), ENDS)
def test_a_process_that_its_parent_has_not_asked_for(arguments, status):
    child = subprocess.Popen([sys.executable, *arguments])
    start = started(child.pid)
    wait_until(lambda: not is_alive(child.pid, start), 30, "its end")
    assert ExitStatus(child.pid, start).read() == status
    assert ExitStatus(child.pid, f"{start}0").read() is None
    child.wait()
    assert ExitStatus(child.pid, start).read() is None


@pytest.mark.parametrize(("arguments", "status"), ENDS)
def test_a_process_that_its_parent_has_asked_for(arguments, status):
    child = subprocess.Popen([sys.executable, *arguments], stdin=subprocess.PIPE)
    held = ExitStatus(child.pid, started(child.pid))
    assert held.hold() is not None
    child.communicate()
    assert held.read() == (status if keeps_exit_status() else None)


def test_a_process_that_lives():
    own = ExitStatus(os.getpid(), started(os.getpid()))
    assert own.read() is None
    descriptor = own.hold()
    assert descriptor is not None
    assert own.read() is None
    os.close(descriptor)
    assert ExitStatus(os.getpid(), "another").hold() is None
