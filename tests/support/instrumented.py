"""`instrumented.py SCRIPT` is `opentelemetry-instrument python SCRIPT` where an interpreter has begun already.

That command puts a `sitecustomize` where the interpreter finds it, which calls `initialize`. The variable that says so
stands in the environment here too: interpreters that this process starts are instrumented like their parent.
"""

import runpy
import sys
from pathlib import Path

from opentelemetry.instrumentation.auto_instrumentation import initialize

del sys.argv[0]
sys.path[0] = str(Path(sys.argv[0]).parent)
initialize()
runpy.run_path(sys.argv[0], run_name="__main__")
