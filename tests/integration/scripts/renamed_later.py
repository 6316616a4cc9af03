"""A training with a Lightning that is imported after the start, and has renamed something private."""

import importlib

from wrapt import register_post_import_hook

import tracelet_otel as tracelet

run = tracelet.start_logging()
register_post_import_hook(lambda module: delattr(module, "_LRCallback"), "lightning.pytorch.tuner.lr_finder")
pl = importlib.import_module("lightning.pytorch")
importlib.import_module("tests.support.trainings").Training({"max_epochs": 1})(pl, False)
tracelet.stop_logging()
print(run.errors)
