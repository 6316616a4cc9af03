"""A script with a run whose child processes run its top again: `copied.py START_METHOD`."""

import multiprocessing
import sys

import tracelet_otel as tracelet

run = tracelet.start_logging("top", config={"export_interval": 0.2})


def work(found, own):
    run.log_metric("lost", 1, 0)
    inherited = (run.id, tracelet.get_active_run() is run)
    if own:
        with tracelet.start_logging("own") as mine:
            mine.log_metric("kept", 1, 0)
    found.put(inherited)


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    found = context.SimpleQueue()
    for own in (False, True):
        child = context.Process(target=work, args=(found, own))
        child.start()
        child.join()
        assert child.exitcode == 0
        print(found.get())
    run.log_metric("mine", 1, 0)
