import importlib
import sys

import tracelet_otel as tracelet

tracelet.start_logging()
assert not {"torch", "lightning", "pytorch_lightning"} & set(sys.modules)
pl = importlib.import_module("pytorch_lightning")
trainings = importlib.import_module("tests.support.trainings")
trainings.Training()(pl, False)
tracelet.stop_logging()
