"""Processor time of functions, by what they are for."""

from __future__ import annotations

import functools
import importlib
import threading
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

ALL_THREADS = "all threads of the process"
ELAPSED = "elapsed"


class Stopwatch:
    """Processor time of functions, each without those that it calls."""

    def __init__(self) -> None:
        self.spent_ns: Counter[str] = Counter()
        self._inner = threading.local()
        self._began = self._took = 0, 0

    def measure(self, owner: Any, name: str, part: str) -> None:
        """Have a function measured from now on."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:
            outer_ns = getattr(self._inner, "ns", 0)
            self._inner.ns = 0
            began_ns = time.thread_time_ns()
            try:
                return function(*args, **kwargs)
            finally:
                took_ns = time.thread_time_ns() - began_ns
                self.spent_ns[part] += took_ns - self._inner.ns
                self._inner.ns = outer_ns + took_ns

        setattr(owner, name, measured)

    def measure_named(self, functions: Iterable[tuple[str, str, str]]) -> None:
        """Have functions measured, each given by its module, its name there, as in `Class.method`, and its part."""
        for module, path, part in functions:
            *owners, name = path.split(".")
            self.measure(functools.reduce(getattr, owners, importlib.import_module(module)), name, part)

    def start(self) -> None:
        """Begin what is timed."""
        self.spent_ns.clear()
        self._began = time.process_time_ns(), time.perf_counter_ns()

    def stop(self) -> float:
        """End what is timed, and tell how many seconds it has taken."""
        cpu_ns, now_ns = time.process_time_ns(), time.perf_counter_ns()
        self._took = cpu_ns - self._began[0], now_ns - self._began[1]
        return self._took[1] / 1e9

    def us_each(self, times: int) -> dict[str, float]:
        """Microseconds of what was timed, by its parts; nothing where no function was measured.

        Args:
            times: how often all of it was done.
        """
        if not self.spent_ns:
            return {}
        whole_ns = dict(zip((ALL_THREADS, ELAPSED), self._took, strict=True))
        return {part: ns / 1e3 / times for part, ns in {**self.spent_ns, **whole_ns}.items()}
