"""Waits until W&B's server has an artifact."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tracelet_otel.errors import RefusedError, TrackerUnavailableError

if TYPE_CHECKING:
    import wandb

_REFUSED: Final = re.compile(r"returned error (400|403|404|413|422)\b")
"""What wandb-core says of a server that will never take an artifact. It asks by itself again after other statuses."""


def wait_for_upload(logged: wandb.Artifact, what: str) -> None:
    """Wait until the server has all of an artifact.

    Args:
        logged: the artifact, which was logged to a run that is online.
        what: what it has, for a message.

    Raises:
        RefusedError: the server will never take it.
        TrackerUnavailableError: it may take it later.
    """
    try:
        logged.wait()
    except ValueError as error:
        if _REFUSED.search(str(error)):
            raise RefusedError(f"W&B does not take {what}: {error}") from None
        raise TrackerUnavailableError(f"W&B has not taken {what}: {error}") from None
