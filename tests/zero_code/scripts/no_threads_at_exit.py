"""The same training in an interpreter that starts no more threads once it exits, as Python 3.12 does."""

import atexit
import threading

import train


def refuse(*_):
    raise RuntimeError("can't create new thread at interpreter shutdown")


train.main()
atexit.register(setattr, threading.Thread, "start", refuse)
