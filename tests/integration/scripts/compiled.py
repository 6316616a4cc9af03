"""A training with a compiled layer, which says how many graphs and operations the compiler saw: `compiled.py WHO`."""

import sys

import lightning.pytorch as pl
import torch
from tests.support.trainings import Training, regression
from torch._dynamo.testing import CompileCounter

import tracelet_otel as tracelet

if sys.argv[1] != "nobody":
    tracelet.start_logging()
counter = CompileCounter()


def compiled(pl):
    module = regression(pl)
    module.layer = torch.compile(module.layer, backend=counter)
    return module


Training(module=compiled)(pl, False)
print("graphs", counter.frame_count, counter.op_count)
