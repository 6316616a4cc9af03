"""What MLflow's pages show of a run beside its values: where it is listed, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from shlex import quote
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.redact import without_secrets
from tracelet_otel.exporters.base import RunLocation
from tracelet_otel.exporters.mlflow.description import TRAINING_PAGE, described, links, summary
from tracelet_otel.exporters.mlflow.extremes import EXTREMES_TAG, Extremes
from tracelet_otel.exporters.mlflow.mapping import NOTE_TAG
from tracelet_otel.exporters.mlflow.parents import link_children, link_to_parent
from tracelet_otel.exporters.words import attempt_in
from tracelet_otel.protocol.decode import Reading
from tracelet_otel.protocol.run_identity import RunIdentity

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Metric, Run

TRAINING_EXPERIMENT: Final = {"mlflow.experimentKind": "custom_model_development"}
"""Tags of an experiment of trainings. Without it, pages of servers before MLflow's switch between GenAI and model
training take an experiment with traces for one of GenAI."""
_NO_SUCH_PAGE: Final = "ENDPOINT_NOT_FOUND"
"""MLflow's error code where a server does not know what it is asked for."""
_ATTEMPTS: Final = 3
"""So often a run is to be listed where that fails, since a server may be away for a moment."""
_FIT: Final = "fit"
_MODEL: Final = "model"
"""Name of a run's model, as `mlflow.pytorch.autolog` has it."""


_UI: Final = "http://127.0.0.1:5000"
"""Where `mlflow ui` listens by default."""


class RunPage:
    """The page of one run.

    Args:
        client: MLflow's client.
        run: the run as it is when it is opened.
        identity: its identity.
        guard: where problems are reported for which no value is refused.
        is_late: whether MLflow was away when the run began, and may have got its children first.
    """

    def __init__(self, client: MlflowClient, run: Run, identity: RunIdentity, guard: Guard, *, is_late: bool) -> None:
        self._parent = link_to_parent(client, run, identity)
        self._parent.attempt()
        if is_late:
            link_children(client, run, identity.run_id)
        self._client = client
        self._guard = guard
        self._info = run.info
        self._extremes = Extremes.of(run.data.tags, run.data.metrics)
        self._listings = 0 if run.outputs and run.outputs.model_outputs else _ATTEMPTS
        """So often it may be tried to have the run listed."""
        self._attempt = attempt_in(run.data.tags.get(semconv.RUN_ATTEMPT, ""))

    def location(self, uri: str, *, is_new: bool) -> RunLocation:
        """Where people find the page.

        Args:
            uri: address of the store without credentials.
            is_new: whether the run was created for this.
        """
        attempt = 0 if is_new else self._attempt
        path = f"/#/experiments/{self._info.experiment_id}/runs/{self._info.run_id}{TRAINING_PAGE}"
        if urlsplit(uri).scheme not in ("http", "https"):
            hint = f"`mlflow ui --backend-store-uri {quote(uri)}`, then open {_UI}{path}"
            return RunLocation(uri, hint, attempt, self._info.run_id)
        return RunLocation(f"{uri.rstrip('/')}{path}", attempt=attempt, id=self._info.run_id)

    def log_metrics(self, metrics: Sequence[Metric], readings: Sequence[Reading]) -> None:
        """Store values and, in the same call, their extremes.

        Args:
            metrics: the values in MLflow's form, one less than MLflow takes in a call at most.
            readings: what each of them was made of.
        """
        from mlflow.entities import RunTag

        keys = (metric.key for metric in metrics)
        extremes = self._extremes.and_those_of(zip(keys, readings, strict=True))
        tags = [RunTag(EXTREMES_TAG, extremes.text)] if extremes.known != self._extremes.known else []
        self._client.log_batch(self._info.run_id, metrics=metrics, tags=tags, synchronous=True)
        self._extremes = extremes
        self._parent.attempt()
        if self._listings and any(reading.stage == _FIT for reading in readings):
            self._list_as_training()

    def _list_as_training(self) -> None:
        """Give the run a model: MLflow's pages list it among the training runs, and others among the evaluations.

        `mlflow.pytorch.autolog` does this when a training begins, too. The model is one whose files MLflow does not
        have. Servers before MLflow 3 know no such models, and have one list of runs. Any other error is reported, and
        is no reason to refuse values.
        """
        from mlflow.entities import LoggedModelOutput
        from mlflow.exceptions import MlflowException

        self._listings -= 1
        try:
            model = self._model()
            # As MLflow does it where there are no files: nothing is pending.
            self._client.finalize_logged_model(model.model_id, "READY")
            self._client.log_outputs(self._info.run_id, [LoggedModelOutput(model.model_id, step=0)])
            self._listings = 0
        except Exception as error:
            if isinstance(error, MlflowException) and error.error_code == _NO_SUCH_PAGE:
                self._listings = 0
            else:
                # In words, since a traceback may have an address with a password.
                self._guard.report("MLflow does not list the run among trainings", without_secrets(str(error), ()))

    def _model(self) -> LoggedModel:
        """The run's model. A relay that was killed may have made it already."""
        from mlflow.utils.mlflow_tags import MLFLOW_MODEL_IS_EXTERNAL

        wanted = f"source_run_id = '{self._info.run_id}' AND name = '{_MODEL}'"
        found = self._client.search_logged_models([self._info.experiment_id], wanted, max_results=1)
        if found:
            return found[0]
        tags = {MLFLOW_MODEL_IS_EXTERNAL: "true"}
        run = self._info
        return self._client.create_logged_model(run.experiment_id, _MODEL, source_run_id=run.run_id, tags=tags)

    def with_note(self, tags: Mapping[str, str]) -> dict[str, str]:
        """Tags to set, with what the description becomes where the note is among them."""
        if NOTE_TAG not in tags:
            return dict(tags)
        stored = self._client.get_run(self._info.run_id).data.tags
        return {**tags, **described(stored, tags[NOTE_TAG], "")}

    def at_end(self, outcome: str | None, end_unix_nano: int | None) -> dict[str, str]:
        """Tags to set when the run has ended.

        Args:
            outcome: one of `semconv.OUTCOMES`, or anything else where nobody knows.
            end_unix_nano: nanoseconds since the epoch; None for now.
        """
        self._parent.attempt(is_last=True)
        run = self._client.get_run(self._info.run_id)
        end_ms = (end_unix_nano or time.time_ns()) // 1_000_000
        took_ms = None if run.info.start_time is None else max(end_ms - run.info.start_time, 0)
        found = links(run.data.tags, run.info.experiment_id, run.info.run_id)
        return described(run.data.tags, None, summary(outcome, took_ms, run.data.metrics, self._extremes.known, found))
