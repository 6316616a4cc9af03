"""What is known of a Fabric that has been seen."""

from __future__ import annotations

from typing import Any


class SeenFabric:
    """What is known of one Fabric.

    Args:
        fabric: the Fabric.
    """

    def __init__(self, fabric: Any) -> None:
        self.rows = 0
        """Rows that it has been handed so far."""
        self.optimizers = 0
        """How many it has set up so far."""
        self.modules = 0
        """How many modules it has set up so far."""
        self.has_begun = False
        """Whether it has begun to train: it has set up an optimizer, or was handed a row."""
        self.look(fabric)

    def look(self, fabric: Any) -> None:
        """See what its launch has changed."""
        self.world_size: int = fabric.world_size
        self.is_first: bool = fabric.is_global_zero
