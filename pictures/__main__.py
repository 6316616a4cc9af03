"""Makes the pictures that the documents show, from real runs.

    python -m pictures [cost] [terminal] [mlflow] [dashboards]

Without a name all of them, which takes several minutes. Needs chromium on PATH, and for the dashboards otelcol and
prometheus on PATH or in the directory that TRACELET_TOOLS names. `docs/pictures/way-of-a-value.svg` is drawn by hand.
"""

from __future__ import annotations

import sys

from pictures import cost, dashboards, mlflow_pages, terminal

_ALL = {"cost": cost.main, "terminal": terminal.main, "mlflow": mlflow_pages.main, "dashboards": dashboards.main}

if __name__ == "__main__":
    for name in sys.argv[1:] or _ALL:
        _ALL[name]()
