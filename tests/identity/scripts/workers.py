"""Prints the id of the run of this process, and that of a worker: `workers.py spawn|forkserver`."""

import multiprocessing
import sys

from tracelet_otel.resource.detector import TraceletResourceDetector


def tell(*_):
    return TraceletResourceDetector().detect().attributes["tracelet.run.id"]


if __name__ == "__main__":
    print(tell(), flush=True)
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        print(*pool.map(tell, [1]))
        pool.close()
        pool.join()
