"""Takes notice when a process that a recorded one has started imports Lightning, since it may train then."""

from __future__ import annotations

import sys
from collections.abc import Callable

from wrapt import register_post_import_hook

from tracelet_otel._support.environment import has_spawn_context
from tracelet_otel._support.private_names import LIGHTNING


def watch(take_up: Callable[[], None]) -> None:
    """Take notice when this process, which a recorded one has started, imports Lightning, and is no rank.

    Args:
        take_up: called when it does.
    """
    if has_spawn_context():
        # A training has started it as a rank, and it runs the same script.
        return
    for package in LIGHTNING.packages:
        if package in sys.modules:
            take_up()
        else:
            register_post_import_hook(lambda _: take_up(), package)
