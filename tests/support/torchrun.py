"""What torchrun tells ranks, for tests that start them themselves."""

from __future__ import annotations

from tests.support.waiting import free_port


def ranks_of_a_node(number: int) -> list[dict[str, str]]:
    """The environment of each rank of a job of one node that has no name."""
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": str(number),
        "LOCAL_WORLD_SIZE": str(number),
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "none",
    }
    return [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(number)]
