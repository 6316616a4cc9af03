"""The experiment of a run in MLflow, which is made where it is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters.mlflow.page import TRAINING_EXPERIMENT

if TYPE_CHECKING:
    from mlflow import MlflowClient


def experiment_id(client: MlflowClient, name: str, shown_uri: str) -> str:
    """MLflow's id of an experiment.

    Args:
        client: MLflow's client.
        name: name of the experiment.
        shown_uri: address of the store, without credentials.

    Raises:
        ConfigurationError: the experiment was deleted.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name, tags=TRAINING_EXPERIMENT))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            # Another process has created it meanwhile.
            experiment = client.get_experiment_by_name(name)
    if experiment is None or experiment.lifecycle_stage == "deleted":
        raise ConfigurationError(
            f"experiment {name!r} was deleted in MLflow at {shown_uri}: restore it with `mlflow experiments restore`, "
            f"or give another project"
        )
    return str(experiment.experiment_id)
