"""Writes a run to MLflow, without touching MLflow's global state.

Only `MlflowClient` with an explicit address is used. No run is made active, `set_tracking_uri` is not called, and no
environment variable is set.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.redact import without_credentials
from tracelet_otel.errors import ConfigurationError, RefusedError, RunLostError
from tracelet_otel.exporters.base import RunLocation
from tracelet_otel.exporters.mlflow.address import check_usable, database_lock
from tracelet_otel.exporters.mlflow.errors import translated
from tracelet_otel.exporters.mlflow.experiments import experiment_id
from tracelet_otel.exporters.mlflow.failure import store_failure
from tracelet_otel.exporters.mlflow.files import MlflowFiles
from tracelet_otel.exporters.mlflow.mapping import (
    MAX_KEY_LENGTH,
    MAX_PARAM_LENGTH,
    MAX_TAG_LENGTH,
    STATUS,
    Infinities,
    exact_name_tags,
    exact_names,
    metric_names,
    resource_tags,
    short_params,
    storable,
    tag_key,
)
from tracelet_otel.exporters.mlflow.new_store import make_store, process_lock
from tracelet_otel.exporters.mlflow.options import MlflowOptions
from tracelet_otel.exporters.mlflow.page import RunPage
from tracelet_otel.exporters.mlflow.traces import MlflowTraces
from tracelet_otel.protocol.decode import Param, Reading
from tracelet_otel.protocol.run_identity import RunIdentity
from tracelet_otel.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

_PARAMS_PER_REQUEST: Final = 100
"""Also for tags."""
_ID_TAG: Final = semconv.RUN_ID

_ABSENT: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""MLflow's error codes where there is no run with an id, or where no run can have it."""


class MlflowTracker:
    """A run in MLflow.

    Args:
        settings: `run_id` continues a run.
        options: `mlflow_tracking_uri` is the address, and `mlflow_run_id` continues a run as well.
    """

    name = "mlflow"
    batch_size = 999  # with a tag of theirs: mlflow.utils.validation.MAX_ENTITIES_PER_BATCH

    def __init__(self, settings: Settings, options: MlflowOptions) -> None:
        self.guard = Guard()
        self._uri = str(options.mlflow_tracking_uri)
        self._continued = settings.run_id or options.mlflow_run_id
        self._shown_uri = without_credentials(self._uri)
        self._names = metric_names()
        self._param_names = metric_names()
        self._tags: dict[str, str] = {}
        self._params: dict[str, str] = {}
        self._infinities: dict[str, Infinities] = {}
        self._was_tried = self._is_continued = False

    def open(self, run: RunIdentity) -> RunLocation:
        """Create the run, or continue it. The experiment is created where it does not exist."""
        is_late, self._was_tried = self._was_tried, True
        with translated(f"MLflow at {self._shown_uri}", self._uri), database_lock(self._uri), process_lock(self._uri):
            make_store(self._uri)
            check_usable(self._uri)
            self._client = self._connect()
            opened = self._continue(run) if self._continued else self._create(run)
            self._run_id: str = opened.info.run_id
            self._page = RunPage(self._client, opened, run, self.guard, is_late=is_late)
        return self._page.location(self._shown_uri, is_new=not self._is_continued)

    def refusals(self, readings: Sequence[Reading]) -> Mapping[int, str]:
        """Return none: no reading is refused before it is sent."""
        return {}

    def log_readings(self, readings: Sequence[Reading]) -> None:
        """Store readings with the client's `log_batch`. Storing the same ones again changes nothing."""
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        keys = [self._names.key(reading.name, is_system=reading.is_system) for reading in readings]
        names = [reading.name for reading in readings]
        tags = {**exact_name_tags(zip(names, keys, strict=True)), **self._infinity_tags(readings, keys)}
        with self._run_translated():
            # SQL stores would make 1.8e308 of an infinity. So it is stored as NaN, and its sign as a tag.
            values = [math.nan if math.isinf(reading.value) else reading.value for reading in readings]
            metrics = [
                Metric(key, value, reading.time_unix_nano // 1_000_000, reading.step)
                for reading, key, value in zip(readings, keys, values, strict=True)
            ]
            try:
                self._page.log_metrics(metrics, readings)
            except MlflowException:
                # Servers before 3.17 refuse a NaN that they have, as when the answer to a first attempt was lost.
                if len(metrics) > 1 or not math.isnan(metrics[0].value) or not self._has(metrics[0]):
                    raise
        self._set_tags(tags)

    def log_params(self, params: Mapping[str, Param]) -> None:
        """Store hyperparameters as params. MLflow's params cannot change, so a later value is stored as a tag."""
        values = {self._param_names.key(name): storable(param.text, MAX_PARAM_LENGTH) for name, param in params.items()}
        try:
            self._store_params(values)
        except RefusedError:
            # Another writer may have stored a value first: then ours is the later one.
            with self._run_translated():
                stored = self._client.get_run(self._run_id).data.params
            others = {key: stored[key] for key in values if key in stored and key not in self._params}
            if not others:
                raise
            self._params.update(others)
            self._store_params(values)
        tags = {key: f"tracelet.param.{key}"[:MAX_KEY_LENGTH] for key in values}
        # Also a param that has its first value again: its tag still has another one.
        changed = {key: value for key, value in values.items() if self._params[key] != value or tags[key] in self._tags}
        self._set_tags({tags[key]: value for key, value in changed.items()})

    def _store_params(self, values: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        new = {key: value for key, value in values.items() if key not in self._params}
        for start in range(0, len(new), _PARAMS_PER_REQUEST):
            chunk = dict(list(new.items())[start : start + _PARAMS_PER_REQUEST])
            with self._run_translated():
                self._client.log_batch(
                    self._run_id, params=[Param(key, value) for key, value in chunk.items()], synchronous=True
                )
            self._params.update(chunk)

    def _store_short_params(self) -> None:
        """Store the optimizer's settings under short names; params cannot change, so a user's own come first."""
        if not short_params(self._params):
            return
        with self._run_translated():
            stored = self._client.get_run(self._run_id).data.params
        with contextlib.suppress(RefusedError):  # another writer has stored one meanwhile
            self._store_params(short_params({**self._params, **stored}))

    def set_tags(self, tags: Mapping[str, str]) -> Mapping[str, str]:
        """Store tags as MLflow's tags, the note as the run's description, and the traceback of a failure as a file."""
        problems = store_failure(self._client, self._run_id, tags)
        wanted = {tag_key(name): storable(text, MAX_TAG_LENGTH) for name, text in tags.items()}
        with self._run_translated():
            wanted = self._page.with_note(wanted)
        self._set_tags(wanted)
        reason = f"MLflow takes {MAX_TAG_LENGTH} characters"
        return {**{name: reason for name, text in tags.items() if len(text) > MAX_TAG_LENGTH}, **problems}

    def close(self, outcome: str | None, end_unix_nano: int | None = None) -> None:
        """Give the run its final status and end time, and describe how it ended."""
        self._store_short_params()
        with self._run_translated():
            status = STATUS.get(outcome or "", "KILLED")
            self._client.set_terminated(self._run_id, status=status, end_time=_ms(end_unix_nano))
            tags = self._page.at_end(outcome, end_unix_nano)
        self._set_tags(tags)

    def trace_writer(self) -> MlflowTraces:
        """Make what writes spans, with a client of its own."""
        return MlflowTraces("traces", self._connect, self._uri, self._found)

    def file_writer(self) -> MlflowFiles:
        """Make what writes files, with a client of its own."""
        return MlflowFiles("files", self._connect, self._uri, self._found)

    def _found(self, client: MlflowClient, run: RunIdentity) -> Run | None:
        """The run, by the id of it that was given, or by our own."""
        from mlflow.exceptions import MlflowException

        if self._continued:
            with contextlib.suppress(MlflowException):
                return client.get_run(self._continued)
        experiment = client.get_experiment_by_name(run.project)
        return self._search(client, experiment.experiment_id, self._continued or run.run_id) if experiment else None

    def _connect(self) -> MlflowClient:
        from mlflow import MlflowClient

        # The model registry is never called. Naming the same store for it keeps MLflow from looking for one.
        return MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)

    def _create(self, run: RunIdentity) -> Run:
        experiment = experiment_id(self._client, run.project, self._shown_uri)
        # Searched for first: an earlier attempt may have created it, although its answer was lost.
        found = self._search(self._client, experiment, run.run_id)
        if found is not None:
            self._resume(found)
            return found
        return self._client.create_run(
            experiment,
            start_time=_ms(run.start_unix_nano),
            run_name=run.run_name,
            tags=resource_tags(run.attributes),
        )

    def _continue(self, run: RunIdentity) -> Run:
        from mlflow.exceptions import MlflowException

        wanted = str(self._continued)
        found: Run | None = None
        try:
            found = self._client.get_run(wanted)
        except MlflowException as error:
            # Any other error does not mean that the run is absent.
            if error.error_code not in _ABSENT:
                raise
        if found is None:
            experiment = self._client.get_experiment_by_name(run.project)
            found = self._search(self._client, experiment.experiment_id, wanted) if experiment else None
        if found is None:
            raise ConfigurationError(
                f"no run to continue: MLflow at {self._shown_uri} has no run {wanted!r}, neither by MLflow's id nor "
                f"by Run.id in experiment {run.project!r}"
            )
        if found.info.lifecycle_stage == "deleted":
            raise ConfigurationError(f"run {wanted!r} was deleted in MLflow: restore it, or start a new one")
        self._resume(found)
        return found

    def _resume(self, found: Run) -> None:
        """Take over the names, params and tags of a run, and give it the status RUNNING."""
        self._names = metric_names(exact_names(found.data.tags, found.data.metrics))
        self._params = dict(found.data.params)
        self._tags = dict(found.data.tags)
        self._client.update_run(found.info.run_id, status="RUNNING")
        self._is_continued = True

    @staticmethod
    def _search(client: MlflowClient, experiment_id: str, run_id: str) -> Run | None:
        runs = client.search_runs([experiment_id], f"tags.`{_ID_TAG}` = '{run_id}'", max_results=1)
        return runs[0] if runs else None

    def _has(self, metric: Metric) -> bool:
        return any(
            math.isnan(stored.value) and (stored.timestamp, stored.step) == (metric.timestamp, metric.step)
            for stored in self._client.get_metric_history(self._run_id, metric.key)
        )

    def _infinity_tags(self, readings: Sequence[Reading], keys: Sequence[str]) -> dict[str, str]:
        changed: dict[str, str] = {}
        for reading, key in zip(readings, keys, strict=True):
            if math.isinf(reading.value):
                tag = f"tracelet.nonfinite.{key}"[:MAX_KEY_LENGTH]
                if key not in self._infinities:
                    self._infinities[key] = Infinities(earlier=self._tags.get(tag, ""))
                self._infinities[key].add(reading)
                changed[tag] = self._infinities[key].text
        return changed

    def _set_tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        fresh = {key: value for key, value in tags.items() if self._tags.get(key) != value}
        for start in range(0, len(fresh), _PARAMS_PER_REQUEST):
            chunk = dict(list(fresh.items())[start : start + _PARAMS_PER_REQUEST])
            with self._run_translated():
                self._client.log_batch(
                    self._run_id, tags=[RunTag(key, value) for key, value in chunk.items()], synchronous=True
                )
            self._tags.update(chunk)

    @contextlib.contextmanager
    def _run_translated(self) -> Iterator[None]:
        """Translate errors of a call that writes to the run: where it was deleted, a refusal means that it is lost."""
        try:
            with translated("MLflow", self._uri), database_lock(self._uri):
                yield
        except RefusedError as error:
            with translated("MLflow", self._uri), database_lock(self._uri):
                deleted = self._client.get_run(self._run_id).info.lifecycle_stage == "deleted"
            if deleted:
                raise RunLostError("the run was deleted in MLflow") from error
            raise


def _ms(unix_nano: int | None) -> int | None:
    return None if unix_nano is None else unix_nano // 1_000_000
