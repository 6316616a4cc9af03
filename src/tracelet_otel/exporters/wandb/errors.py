"""Translates the errors of W&B's client into those of this package."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tracelet_otel.errors import ConfigurationError, TraceletError, TrackerUnavailableError


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn the errors of W&B's client into ours."""
    import wandb

    try:
        yield
    except TraceletError:
        raise
    except wandb.errors.UsageError as error:
        if "does not exist" in str(error):
            raise ConfigurationError(f"no run to continue: W&B: {error}") from None
        raise ConfigurationError(f"W&B: {error}") from None
    except wandb.errors.AuthenticationError as error:
        raise TrackerUnavailableError(f"W&B does not take the API key: {error}") from None
    except Exception as error:
        message = f"W&B: {type(error).__name__}: {error}"
        if "not logged in" in message:
            message = f"W&B does not take the API key ({error}): is it for this server?"
        raise TrackerUnavailableError(message) from None
