"""What `FaultFile` does to the `faulthandler` of a process: `faults.py CASE DIRECTORY`."""

import ctypes
import faulthandler
import os
import signal
import sys
from pathlib import Path

from tracelet_otel.session.faults import FaultFile, _handlers

case, directory = sys.argv[1], Path(sys.argv[2])
free = [0] * 5


def files():
    return [path.name for path in directory.iterdir()]


if case == "put back":
    assert _handlers() == free
    for _ in range(2):
        faults = FaultFile(directory)
        assert faulthandler.is_enabled()
        assert len(files()) == 1
        faults.close()
        faults.close()
        assert (faulthandler.is_enabled(), _handlers(), files()) == (False, free, [])
elif case == "enabled before":
    faulthandler.enable()
    before = _handlers()
    faults = FaultFile(directory)
    assert files() == []
    faults.close()
    assert (faulthandler.is_enabled(), _handlers()) == (True, before)
elif case == "enabled after":
    faults = FaultFile(directory)
    faulthandler.enable()
    faults.close()
    assert (faulthandler.is_enabled(), files()) == (True, [])
elif case == "disabled after":
    faults = FaultFile(directory)
    faulthandler.disable()
    faults.close()
    assert (faulthandler.is_enabled(), files()) == (False, [])
elif case == "handled before":
    signal.signal(signal.SIGFPE, lambda *_: None)
    before = _handlers()
    faults = FaultFile(directory)
    assert (faulthandler.is_enabled(), files(), _handlers()) == (False, [], before)
elif case == "handled after":
    faults = FaultFile(directory)
    # As a library does: Python does not know of it.
    ctypes.CDLL(None).signal(signal.SIGFPE, ctypes.cast(ctypes.CDLL(None).abs, ctypes.c_void_p))
    after = _handlers()
    faults.close()
    assert (_handlers(), files()) == (after, [])
elif case == "forked":
    faults = FaultFile(directory)
    child = os.fork()
    if child == 0:
        assert (faulthandler.is_enabled(), _handlers()) == (False, free)
        faults.close()
        ctypes.string_at(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGSEGV
    assert faulthandler.is_enabled()
    assert [path.stat().st_size for path in directory.iterdir()] == [0]
    faults.close()
elif case == "forked, with one of its own":
    faults = FaultFile(directory)
    child = os.fork()
    if child == 0:
        FaultFile(directory)
        ctypes.string_at(0)
    os.waitpid(child, 0)
    assert sorted(path.stat().st_size > 0 for path in directory.iterdir()) == [False, True]
    faults.close()
    (left,) = files()
    assert left.startswith(f"{child}-")
else:
    raise ValueError(case)
