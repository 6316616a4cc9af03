"""A run whose training ends suddenly at the place that its argument names."""

import sys

from tests.support import failing

import tracelet_otel as tracelet

tracelet.start_logging()
failing.train(sys.argv[1])
