"""Writes a task to a ClearML server, with its REST API (`api`)."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tracelet_otel import semconv
from tracelet_otel.errors import ConfigurationError, RefusedError, TrackerUnavailableError
from tracelet_otel.exporters.clearml.api import ALREADY_THERE, AnswerError, ApiConnection, ApiServer
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
from tracelet_otel.exporters.parents import ParentLink
from tracelet_otel.protocol.decode import Param
from tracelet_otel.protocol.failure import Failure
from tracelet_otel.protocol.run_identity import RunIdentity

SYSTEM_TAG: Final = "tracelet:"
"""Prefix of the system tag by which the task of a run is found, because the server chooses the ids of tasks."""
_PARENT_TAG: Final = "tracelet-parent:"
"""Prefix of the system tag by which a parent finds its children, where the server got them first."""
_ENDS: Final = {semconv.OUTCOME_FINISHED: "tasks.completed", semconv.OUTCOME_FAILED: "tasks.failed"}
"""Calls that end a task, by outcome; `tasks.stopped` for every other outcome and for none."""


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
        self._api = ApiConnection(server)
        self._wanted = wanted
        self.task_id = ""
        """Its id, which the server chooses; empty before `begin`."""
        self.is_continued = False
        """Whether it was there before `begin`."""
        self._was_tried = False
        self._parent = ParentLink({}, self._id_of, self._link)

    def begin(self, run: RunIdentity) -> str:
        """Create the task, or continue it where it exists.

        Returns:
            Address at which people look at it.

        Raises:
            ConfigurationError: there is no task to continue.
        """
        is_late, self._was_tried = self._was_tried, True
        found = find_task(self._api, self._wanted or run.run_id)
        if found is None and self._wanted is not None:
            raise ConfigurationError(
                f"no run to continue: ClearML at {self._api.shown} has no task {self._wanted!r}, neither by its id "
                f"nor by Run.id"
            )
        self.is_continued = found is not None
        if found is None:
            project = self._project_id(long_enough(run.project))
            tags = ["development", SYSTEM_TAG + run.run_id]
            if semconv.PARENT_RUN_ID in run.attributes:
                tags.append(f"{_PARENT_TAG}{run.attributes[semconv.PARENT_RUN_ID]}")
            made = self._call("tasks.create", {**description(run), "project": project, "system_tags": tags})
            found = {"id": made["id"], "project": project}
        self.task_id = str(found["id"])
        # With `force`, because a task that is continued may have failed before.
        self._call("tasks.started", {"task": self.task_id, "force": True})
        self._parent = ParentLink(run.attributes, self._id_of, self._link)
        self._parent.attempt()
        if is_late:
            self._link_children(run.run_id)
        if self._api.server.web is None:
            return f"{self._api.shown}/tasks.get_by_id?task={self.task_id}"
        return f"{self._api.server.web}/projects/{found['project']}/experiments/{self.task_id}/output/log"

    def graphs(self) -> list[Graph]:
        """Graphs of which the task has points already."""
        last = self._task().get("last_metrics") or {}
        return [Graph(point["metric"], point["variant"]) for series in last.values() for point in series.values()]

    def properties(self) -> dict[str, str]:
        """The task's user properties, by name."""
        section = (self._task().get("hyperparams") or {}).get(PROPERTIES) or {}
        return {name: str(item.get("value", "")) for name, item in section.items()}

    def tags(self) -> list[str]:
        """The task's tags."""
        return list(self._task().get("tags") or [])

    def add(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Store events. An event replaces an earlier one of the same graph and iteration.

        Raises:
            RefusedError: some of them cannot be stored.
        """
        add_events(self._api, self.task_id, events)
        self._parent.attempt()

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
        self._parent.attempt(is_last=True)
        call = _ENDS.get(outcome or "", "tasks.stopped")
        self._call(call, {"task": self.task_id, **status_of(outcome, failure), "force": True})

    def _id_of(self, run_id: str) -> str | None:
        found = find_task(self._api, run_id)
        return None if found is None else str(found["id"])

    def _link(self, parent: str) -> None:
        self._call("tasks.edit", {"task": self.task_id, "parent": parent, "force": True})

    def _link_children(self, run_id: str) -> None:
        """Link the children of the run that the server got before it, as where it was away when the run began."""
        with contextlib.suppress(Exception):
            wanted = {"system_tags": [_PARENT_TAG + run_id], "only_fields": ["id"]}
            for child in self._call("tasks.get_all", wanted)["tasks"]:
                self._call("tasks.edit", {"task": child["id"], "parent": self.task_id, "force": True})

    def _edit(self, section: str, values: Mapping[str, Any]) -> None:
        made = list(items(section, values).values())
        data = {"task": self.task_id, "hyperparams": made, "replace_hyperparams": "none", "force": True}
        self._call("tasks.edit_hyper_params", data)

    def _task(self) -> dict[str, Any]:
        task: dict[str, Any] = self._call("tasks.get_by_id", {"task": self.task_id})["task"]
        return task

    def _project_id(self, name: str) -> str:
        wanted = {"name": f"^{re.escape(name)}$", "only_fields": ["id", "name"], "search_hidden": True}
        for _ in range(2):
            found = [one for one in self._call("projects.get_all", wanted)["projects"] if one["name"] == name]
            if found:
                return str(found[0]["id"])
            try:
                return str(self._api.request("projects.create", {"name": name, "description": ""})["id"])
            except AnswerError as error:
                # Another process has created it meanwhile.
                if error.subcode != ALREADY_THERE:
                    raise self._api.translated(error) from None
        raise TrackerUnavailableError(f"ClearML at {self._api.shown} does not find project {name!r}")

    def _call(self, endpoint: str, data: Any) -> dict[str, Any]:
        return self._api.call(endpoint, data, self.task_id)


def find_task(api: ApiConnection, run_id: str) -> dict[str, Any] | None:
    """Find the task of a run.

    Args:
        api: connection to the server.
        run_id: the id of the task, or that of the run.

    Returns:
        Its id and project; None where there is no such task.
    """
    fields = ["id", "project"]
    for wanted in ({"id": [run_id]}, {"system_tags": [SYSTEM_TAG + run_id]}):
        found: list[dict[str, Any]] = api.call("tasks.get_all", {**wanted, "only_fields": fields})["tasks"]
        if found:
            return found[0]
    return None


def add_events(api: ApiConnection, task_id: str, events: Sequence[Mapping[str, Any]]) -> None:
    """Store events of a task.

    Args:
        api: connection to the server.
        task_id: the task.
        events: the events, each of which has the task's id, too.

    Raises:
        RefusedError: some of them cannot be stored.
    """
    lines = "\n".join(json.dumps(event, allow_nan=False) for event in events)
    added = api.call("events.add_batch", lines, task_id)
    if added.get("errors"):
        raise RefusedError(f"ClearML: {added.get('errors_info')}")
