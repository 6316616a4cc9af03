"""What the instrumentor lends those of its parts that wrap functions themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracelet_otel.instrumentation.lightning.hooks import Hooks
    from tracelet_otel.instrumentation.lightning.media_calls import KnowsHooks, Wrap


@dataclass(frozen=True)
class Attachment:
    """Ways to put wrappers in, and to find where they report to."""

    source: KnowsHooks
    """The instrumentor. Pickled, it becomes that of the other process."""
    current: Callable[[], Hooks | None]
    """Returns where calls are reported; None where nothing is recorded. It makes no system call."""
    beginning: Callable[[], Hooks | None]
    """The same, for what begins a training: a process that records nothing says so then."""
    put: Callable[[Any, str, Wrap], None]
    """Puts a wrapper around a method, given by its class and its name."""
    prepare: Callable[[Any], None]
    """Wraps what the loggers of a trainer or a Fabric are handed."""
