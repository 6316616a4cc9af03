"""Translates the errors of MLflow's client into those of this package."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tracelet_otel._support.redact import without_credentials
from tracelet_otel.errors import ConfigurationError, RefusedError, RunLostError, TraceletError, TrackerUnavailableError

if TYPE_CHECKING:
    from mlflow.exceptions import MlflowException


@contextlib.contextmanager
def translated(what: str, uri: str) -> Iterator[None]:
    """Turn MLflow's errors into ours, without the credentials that an address may hold.

    What MLflow calls a wrong parameter, or cannot convert, is refused for good. A run that does not exist is lost. With
    everything else, the same call may succeed later.

    Args:
        what: what was done, for the beginning of the message.
        uri: the store's address.
    """
    from mlflow.exceptions import MlflowException

    # `from None`: otherwise MLflow's own error would be shown as well, with the credentials in the address.
    try:
        yield
    except TraceletError:
        raise
    except MlflowException as error:
        if "MLFLOW_ALLOW_FILE_STORE" in error.message:
            raise ConfigurationError(
                f"{what}: MLflow keeps no runs in a folder any more. Give it a database, as in sqlite:///mlflow.db, or "
                f"set MLFLOW_ALLOW_FILE_STORE=true"
            ) from None
        raise _kind(error)(f"{what}: {error.message}".replace(uri, without_credentials(uri))) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise RefusedError(f"{what}: {error}") from None
    except Exception as error:
        message = f"{what}: {type(error).__name__}: {error}"
        raise TrackerUnavailableError(message.replace(uri, without_credentials(uri))) from None


def _kind(error: MlflowException) -> type[TraceletError]:
    if type(error.__cause__).__module__ == "sqlalchemy.exc" and type(error.__cause__).__name__ == "TimeoutError":
        # All connections to the database are in use.
        return TrackerUnavailableError
    unconvertible = isinstance(error.__cause__, (OverflowError, UnicodeError))
    if error.error_code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST") or unconvertible:
        return RefusedError
    return RunLostError if error.error_code == "RESOURCE_DOES_NOT_EXIST" else TrackerUnavailableError
