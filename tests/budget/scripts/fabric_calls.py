"""Logs rows with Fabric's log_dict on a thread that may make no system call: `fabric_calls.py ROWS [and calls]`.

Exits with 7; a call ends the process by SIGSYS, as in `calls.py`.
"""

import os
import sys

import lightning.fabric as fabrics
import torch
from tests.budget.scripts.forbidding import forbid_calls
from tests.support.fabrics import quiet_fabric

import tracelet_otel as tracelet

tracelet.start_logging(config={"export_interval": 3600})
fabric = quiet_fabric(fabrics)
values = {f"m{n}": torch.tensor(float(n)) for n in range(5)}
for step in (0, None):
    fabric.log_dict(values, step)
forbid_calls()
for step in range(int(sys.argv[1])):
    fabric.log_dict(values, step)
    fabric.log("alone", 0.5)
if sys.argv[2:] == ["and calls"]:
    os.getppid()
os._exit(7)
