import sys

import tracelet_otel as tracelet

sys.modules["mlflow"] = None  # what an import finds where the package is absent
try:
    tracelet.start_logging(backend="mlflow")
except tracelet.MissingDependencyError as error:
    print(error)
