"""Writes a task to a ClearML server, with its REST API.

ClearML's own session is not used: after a broken connection, a wrong certificate or an expired token it retries for
ever, and no setting limits that. Each request here has one answer, or one error within `REQUEST_S` seconds, and the
caller decides what to do then.

Source: ClearML API reference, version 2.13.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import requests

from tracelet_otel import semconv
from tracelet_otel._support.redact import without_credentials
from tracelet_otel.errors import ConfigurationError, RefusedError, RunLostError, TrackerUnavailableError
from tracelet_otel.exporters.clearml.mapping import (
    GENERAL,
    PROPERTIES,
    Graph,
    described,
    description,
    items,
    long_enough,
    status_of,
)
from tracelet_otel.protocol.decode import Param
from tracelet_otel.protocol.failure import Failure
from tracelet_otel.protocol.run_identity import RunIdentity

REQUEST_S: Final = 20.0
"""How long the server may send nothing within one request, in seconds."""
_CONNECT_S: Final = 5.0
_API: Final = "v2.13"
_SYSTEM_TAG: Final = "tracelet:"
"""Prefix of the system tag by which the task of a run is found, because the server chooses the ids of tasks."""
_INVALID_TASK: Final = 101
_NOT_ADDED: Final = 131
_NOT_INDEXED: Final = 100
_ALREADY_THERE: Final = 801
"""Subcodes of the server's errors."""
_ENDS: Final = {semconv.OUTCOME_FINISHED: "tasks.completed", semconv.OUTCOME_FAILED: "tasks.failed"}
"""Calls that end a task, by outcome; `tasks.stopped` for every other outcome and for none."""


@dataclass(frozen=True)
class ApiServer:
    """A ClearML server, and the credentials for it."""

    api: str
    web: str | None
    """Address of its web pages; None where it is not known."""
    access_key: str
    secret_key: str
    verify: bool = True
    """Whether its certificate is verified."""


class _AnswerError(Exception):
    """An error with which the server has answered a request."""

    def __init__(self, code: int, subcode: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.subcode = subcode


class ServerTask:
    """A task that is created, or continued, on a server.

    Args:
        server: the server.
        wanted: the task to continue: its id, or `Run.id`; None for that of the run, which is made where it is missing.

    Raises from each method:
        TrackerUnavailableError: the server does not answer, or does not accept the credentials.
        RunLostError: the task is not there any more.
    """

    def __init__(self, server: ApiServer, wanted: str | None) -> None:
        self._server = server
        self._wanted = wanted
        self._shown = without_credentials(server.api)
        self._session = requests.Session()
        self._session.verify = server.verify
        self._token: str | None = None
        self.task_id = ""
        """Its id, which the server chooses; empty before `begin`."""

    def begin(self, run: RunIdentity) -> str:
        """Create the task, or continue it where it exists.

        Returns:
            Address at which people look at it.

        Raises:
            ConfigurationError: there is no task to continue.
        """
        found = self._find(self._wanted or run.run_id)
        if found is None and self._wanted is not None:
            raise ConfigurationError(
                f"no run to continue: ClearML at {self._shown} has no task {self._wanted!r}, neither by its id nor by "
                f"Run.id"
            )
        if found is None:
            project = self._project_id(long_enough(run.project))
            tags = ["development", _SYSTEM_TAG + run.run_id]
            made = self._call("tasks.create", {**description(run), "project": project, "system_tags": tags})
            found = {"id": made["id"], "project": project}
        self.task_id = str(found["id"])
        # With `force`, because a task that is continued may have failed before.
        self._call("tasks.started", {"task": self.task_id, "force": True})
        if self._server.web is None:
            return f"{self._shown}/tasks.get_by_id?task={self.task_id}"
        return f"{self._server.web}/projects/{found['project']}/experiments/{self.task_id}/output/log"

    def graphs(self) -> list[Graph]:
        """Graphs of which the task has points already."""
        last = self._task().get("last_metrics") or {}
        return [Graph(point["metric"], point["variant"]) for series in last.values() for point in series.values()]

    def properties(self) -> dict[str, str]:
        """The task's user properties, by name."""
        section = (self._task().get("hyperparams") or {}).get(PROPERTIES) or {}
        return {name: str(item.get("value", "")) for name, item in section.items()}

    def add(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Store events. An event replaces an earlier one of the same graph and iteration.

        Raises:
            RefusedError: some of them cannot be stored.
        """
        lines = "\n".join(json.dumps(event, allow_nan=False) for event in events)
        added = self._call("events.add_batch", lines)
        if added.get("errors"):
            raise RefusedError(f"ClearML: {added.get('errors_info')}")

    def set_params(self, params: Mapping[str, Param]) -> None:
        """Store hyperparameters."""
        self._edit(GENERAL, params)

    def set_properties(self, properties: Mapping[str, str]) -> None:
        """Store user properties."""
        self._edit(PROPERTIES, properties)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags and comment. Tags that somebody else has given the task meanwhile stay."""
        changed = described(self._task().get("tags") or [], tags)
        self._call("tasks.edit", {"task": self.task_id, **changed, "force": True})

    def end(self, outcome: str | None, failure: Failure | None) -> None:
        """Give the task its final status, with the reason where it has failed."""
        call = _ENDS.get(outcome or "", "tasks.stopped")
        self._call(call, {"task": self.task_id, **status_of(outcome, failure), "force": True})

    def _edit(self, section: str, values: Mapping[str, Any]) -> None:
        made = list(items(section, values).values())
        data = {"task": self.task_id, "hyperparams": made, "replace_hyperparams": "none", "force": True}
        self._call("tasks.edit_hyper_params", data)

    def _task(self) -> dict[str, Any]:
        task: dict[str, Any] = self._call("tasks.get_by_id", {"task": self.task_id})["task"]
        return task

    def _find(self, run_id: str) -> dict[str, Any] | None:
        fields = ["id", "project"]
        for wanted in ({"id": [run_id]}, {"system_tags": [_SYSTEM_TAG + run_id]}):
            found: list[dict[str, Any]] = self._call("tasks.get_all", {**wanted, "only_fields": fields})["tasks"]
            if found:
                return found[0]
        return None

    def _project_id(self, name: str) -> str:
        wanted = {"name": f"^{re.escape(name)}$", "only_fields": ["id", "name"], "search_hidden": True}
        for _ in range(2):
            found = [one for one in self._call("projects.get_all", wanted)["projects"] if one["name"] == name]
            if found:
                return str(found[0]["id"])
            try:
                return str(self._request("projects.create", {"name": name, "description": ""})["id"])
            except _AnswerError as error:
                # Another process has created it meanwhile.
                if error.subcode != _ALREADY_THERE:
                    raise self._translated(error) from None
        raise TrackerUnavailableError(f"ClearML at {self._shown} does not find project {name!r}")

    def _call(self, endpoint: str, data: Any) -> dict[str, Any]:
        try:
            return self._request(endpoint, data)
        except _AnswerError as error:
            raise self._translated(error) from None

    def _translated(self, error: _AnswerError) -> Exception:
        message = f"ClearML at {self._shown}: {error}"
        if error.subcode in (_INVALID_TASK, _NOT_ADDED) and self.task_id:
            return RunLostError(f"the task is not there any more, or is published: {message}")
        if error.code == requests.codes.bad or error.subcode == _NOT_INDEXED:
            return RefusedError(message)
        return TrackerUnavailableError(f"{message} (status {error.code})")

    def _request(self, endpoint: str, data: Any) -> dict[str, Any]:
        fresh = self._token is None
        if self._token is None:
            self._log_in()
        try:
            return self._post(endpoint, data, {"Authorization": f"Bearer {self._token}"})
        except _AnswerError as error:
            # Tokens expire, and a reinstalled server knows none.
            self._token = None
            if error.code != requests.codes.unauthorized or fresh:
                raise
        return self._request(endpoint, data)

    def _log_in(self) -> None:
        auth = requests.auth.HTTPBasicAuth(self._server.access_key, self._server.secret_key)
        try:
            self._token = str(self._post("auth.login", {}, {}, auth)["token"])
        except _AnswerError as error:
            if error.code != requests.codes.unauthorized:
                raise
            raise TrackerUnavailableError(
                f"ClearML at {self._shown} does not let us in ({error}): are CLEARML_API_ACCESS_KEY and "
                f"CLEARML_API_SECRET_KEY, or those in clearml.conf, for this server?"
            ) from None

    def _post(
        self, endpoint: str, data: Any, headers: Mapping[str, str], auth: requests.auth.AuthBase | None = None
    ) -> dict[str, Any]:
        batch = isinstance(data, str)
        kind = "application/json-lines" if batch else "application/json"
        try:
            answer = self._session.post(
                f"{self._server.api}/{_API}/{endpoint}",
                data=(data if batch else json.dumps(data)).encode(),
                headers={**headers, "Content-Type": kind},
                auth=auth,
                timeout=(_CONNECT_S, REQUEST_S),
            )
            content = answer.json()
            meta = content["meta"]
        except requests.exceptions.JSONDecodeError:
            raise TrackerUnavailableError(
                f"ClearML at {self._shown} answers with HTTP status {answer.status_code}: is this its API server?"
            ) from None
        except (requests.RequestException, LookupError, TypeError) as error:
            raise TrackerUnavailableError(
                f"ClearML at {self._shown} cannot be reached ({type(error).__name__}): is the server running?"
            ) from None
        if answer.status_code != requests.codes.ok:
            raise _AnswerError(answer.status_code, meta.get("result_subcode", 0), str(meta.get("result_msg")))
        result: dict[str, Any] = content["data"]
        return result
