"""A training whose ranks are started by rank 0, as Lightning starts them, and print to where it prints.

Arguments: number of the rank, the directory, and whether other ranks are recorded.
"""

from __future__ import annotations

import subprocess
import sys

from tests.console.scripts.prints import captured

rank, directory, all_ranks = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "all"
capture = captured(directory, rank, is_of_all=all_ranks)
print(f"of rank {rank}", sys.stdout.isatty(), flush=True)
if rank == 0:
    for number in (1, 2):
        subprocess.run([sys.executable, __file__, str(number), *sys.argv[2:]], check=True)
    print("all ranks have ended", flush=True)
capture.close()
