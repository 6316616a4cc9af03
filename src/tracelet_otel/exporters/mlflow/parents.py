"""Shows runs as children of others in MLflow, which nests them by a tag."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from tracelet_otel import semconv
from tracelet_otel.exporters.mlflow.mapping import RESOURCE_PREFIX
from tracelet_otel.exporters.parents import ParentLink
from tracelet_otel.protocol.run_identity import RunIdentity

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_PARENT_TAG: Final = "mlflow.parentRunId"
"""Source: `mlflow.utils.mlflow_tags`."""
_OUR_PARENT_TAG: Final = f"{RESOURCE_PREFIX}{semconv.PARENT_RUN_ID}"
_MOST: Final = 1000
"""The most experiments, or children, that are looked at."""


def link_to_parent(client: MlflowClient, opened: Run, run: RunIdentity) -> ParentLink:
    """Make the link of a run to its parent, which is looked for in its experiment first.

    Args:
        client: MLflow's client.
        opened: the run.
        run: its identity.
    """

    def find(parent: str) -> str | None:
        wanted = f"tags.`{semconv.RUN_ID}` = '{parent}'"
        found = client.search_runs([opened.info.experiment_id], wanted, max_results=1)
        if not found:
            experiments = [one.experiment_id for one in client.search_experiments(max_results=_MOST)]
            found = client.search_runs(experiments, wanted, max_results=1)
        # A run that was continued may have MLflow's id only.
        return str(found[0].info.run_id if found else client.get_run(parent).info.run_id)

    def link(parent: str) -> None:
        client.set_tag(opened.info.run_id, _PARENT_TAG, parent)

    return ParentLink({} if _PARENT_TAG in opened.data.tags else run.attributes, find, link)


def link_children(client: MlflowClient, opened: Run, run_id: str) -> None:
    """Link the children of a run that MLflow got before it, as where it was away when the run began.

    Args:
        client: MLflow's client.
        opened: the run.
        run_id: our id of the run.
    """
    with contextlib.suppress(Exception):
        wanted = f"tags.`{_OUR_PARENT_TAG}` = '{run_id}'"
        for child in client.search_runs([opened.info.experiment_id], wanted, max_results=_MOST):
            if _PARENT_TAG not in child.data.tags:
                client.set_tag(child.info.run_id, _PARENT_TAG, opened.info.run_id)
