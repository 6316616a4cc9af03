"""The errors of MLflow's client, in our terms."""

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

    Only what MLflow calls a wrong parameter is refused for good, and what cannot be converted;
    everything else may work later.
    """
    from mlflow.exceptions import MlflowException

    # `from None`: MLflow's own error would be shown beside ours, with the address as it is.
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
    unconvertible = isinstance(error.__cause__, (OverflowError, UnicodeError))
    if error.error_code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST") or unconvertible:
        return RefusedError
    return RunLostError if error.error_code == "RESOURCE_DOES_NOT_EXIST" else TrackerUnavailableError
