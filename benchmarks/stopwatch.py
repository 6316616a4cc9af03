"""Processor time of functions, by what they are for."""

from __future__ import annotations

import functools
import importlib
import threading
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any


class Stopwatch:
    """Processor time of functions, each without those that it calls."""

    def __init__(self) -> None:
        self.spent_ns: Counter[str] = Counter()
        self._inner = threading.local()

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
