"""A script that does not train; it prints what heavy modules, child processes and threads of ours there are."""

import sys
import threading

import psutil

heavy = {"torch", "lightning", "pytorch_lightning", "mlflow", "wandb", "clearml", "pydantic", "uvicorn"}
threads = [one.name for one in threading.enumerate() if "tracelet" in one.name]
print(sorted(heavy & set(sys.modules)), psutil.Process().children(), threads)
