"""A double of the ClearML API server and its files server, which the real client accepts, and which can fall ill."""

from __future__ import annotations

import base64
import json
import re
import struct
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.clearml_files_server import KeptFiles
from tests.support.clearml_models import ModelCalls, RefusedError
from tests.support.failing_server import FailingServer

ILLS = ["401", "500", "429", "hangs", "down"]

NEXT_STATUSES = {
    "created": {"in_progress"},
    "in_progress": {"stopped", "failed", "created", "completed"},
    "stopped": {"created", "failed", "in_progress", "published", "completed"},
    "failed": {"created", "stopped", "published"},
    "completed": {"published", "in_progress", "created"},
}
STATUS_OF = {"tasks.started": "in_progress", "tasks.completed": "completed", "tasks.publish": "published"}
STATUS_OF |= {"tasks.failed": "failed", "tasks.stopped": "stopped"}
EVENT_TYPES = {"training_stats_scalar", "training_stats_vector", "training_debug_image", "plot", "log"}


@dataclass
class StoredTask:
    """One task as the server keeps it; `fields` has what has no attribute of its own (comment, script, ...)."""

    task_id: str
    name: str = ""
    project: str = ""
    type: str = ""
    status: str = "created"
    status_reason: str = ""
    status_message: str = ""
    tags: list[str] = field(default_factory=list)
    hyperparams: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    points: dict[tuple[str, str, int], tuple[float, int]] = field(default_factory=dict)
    shown: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    """Plots and debug samples by type and identity, which is that of the real server."""
    log: list[dict[str, Any]] = field(default_factory=list)
    """Log events, which have no identity."""
    outputs: dict[str, str] = field(default_factory=dict)
    """Ids of output models by their names in the task."""
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def params(self) -> dict[str, str]:
        return {name: item["value"] for name, item in self.hyperparams.get("General", {}).items()}

    @property
    def properties(self) -> dict[str, str]:
        return {name: item["value"] for name, item in self.hyperparams.get("properties", {}).items()}


class ClearmlServer(ModelCalls, FailingServer):
    """A double of the ClearML API server; `ill` is read at each request, `calls` are the endpoints called."""

    access_key = "THEACCESSKEYOFTESTS0"
    secret_key = "the-secret-key-of-tests"
    api_version = "2.30"

    def __init__(self) -> None:
        self.tasks: dict[str, StoredTask] = {}
        self.projects: dict[str, str] = {}
        self.calls: list[str] = []
        self.tokens: set[str] = set()
        self.models: dict[str, dict[str, Any]] = {}
        self.files = KeptFiles(self.tokens)
        self.lock = threading.Lock()
        super().__init__(_Handler)

    def stop(self) -> None:
        """End it, and remove its files."""
        super().stop()
        self.files.remove()

    def answer(self, endpoint: str, call: Any, authorization: str) -> dict[str, Any]:
        """Returns the data of the answer to a call, or raises `RefusedError`."""
        if self.ill:
            raise RefusedError(int(self.ill), 22 if self.ill == "401" else 0, f"The server is ill: {self.ill}")
        kind, _, credentials = authorization.partition(" ")
        if endpoint == "auth.login" and kind == "Basic":
            return {"token": self._log_in(credentials)}
        if kind != "Bearer":
            raise RefusedError(401, 20, "Unauthorized (missing credentials)")
        if credentials not in self.tokens:
            raise RefusedError(401, 30, "Invalid token (invalid jwt token): reason=Signature verification failed")
        method = f"_{endpoint.replace('.', '_')}"
        handle: Callable[[Any], dict[str, Any]] | None = getattr(self, method, None)
        with self.lock:
            if endpoint in STATUS_OF:
                return self._to_status(call, STATUS_OF[endpoint])
            if handle is None:
                raise RefusedError(404, 0, f"Unable to find endpoint for name {endpoint} and version 2.30")
            return handle(call)

    def _log_in(self, credentials: str) -> str:
        if base64.b64decode(credentials).decode() != f"{self.access_key}:{self.secret_key}":
            raise RefusedError(401, 22, "Unauthorized (invalid credentials) (failed to locate provided credentials)")
        claims = {"exp": time.time() + 30 * 86400, "jti": uuid.uuid4().hex, "feature_set": "basic"}
        claims |= {"api_version": self.api_version, "server_version": "2.0.0"}
        parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
        token = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in [*parts, b"signed"])
        self.tokens.add(token)
        return token

    def _task(self, call: dict[str, Any], *, to_edit: bool = False) -> StoredTask:
        if call["task"] not in self.tasks:
            raise RefusedError(400, 101, f"Invalid task id: id={call['task']}, company=the-company")
        task = self.tasks[call["task"]]
        if to_edit and not (task.status == "created" or (call.get("force") and task.status == "in_progress")):
            raise RefusedError(400, 110, f"Invalid task status: expected=created, status={task.status}")
        return task

    def _to_status(self, call: dict[str, Any], status: str) -> dict[str, Any]:
        task = self._task(call)
        if not call.get("force") and status != task.status and status not in NEXT_STATUSES.get(task.status, set()):
            states = f"current_status={task.status}, new_status={status}"
            raise RefusedError(400, 110, f"Invalid task status (Invalid status change): {states}")
        task.status, task.status_reason = status, call.get("status_reason") or ""
        task.status_message = call.get("status_message") or ""
        return {"updated": 1, "fields": {"status": status}}

    def _projects_get_all(self, call: dict[str, Any]) -> dict[str, Any]:
        names = {key: name for key, name in self.projects.items() if key in (call.get("id") or self.projects)}
        named = re.compile(call.get("name") or "")
        return {"projects": [{"id": key, "name": name} for key, name in names.items() if named.search(name)]}

    def _projects_create(self, call: dict[str, Any]) -> dict[str, Any]:
        _check_length(call["name"].partition("/")[0])
        if call["name"] in self.projects.values():
            raise RefusedError(400, 801, f"Value combination already exists: name={call['name']}")
        self.projects[uuid.uuid4().hex] = call["name"]
        return {"id": list(self.projects)[-1]}

    def _projects_get_by_id(self, call: dict[str, Any]) -> dict[str, Any]:
        if call["project"] not in self.projects:
            raise RefusedError(400, 401, f"Invalid project id: id={call['project']}")
        return {"project": {"id": call["project"], "name": self.projects[call["project"]]}}

    def _tasks_create(self, call: dict[str, Any]) -> dict[str, Any]:
        _check_length(call["name"])
        task = StoredTask(uuid.uuid4().hex)
        self.tasks[task.task_id] = task
        self._tasks_edit({**call, "task": task.task_id})
        return {"id": task.task_id}

    def _tasks_edit(self, call: dict[str, Any]) -> dict[str, Any]:
        task = self._task(call, to_edit=not call.get("force"))
        _check_length(call.get("name", task.name))
        if call.get("project"):
            task.project = self.projects[call["project"]]
        for name, value in call.items():
            if name in {"name", "type", "tags", "hyperparams"}:
                setattr(task, name, sorted(value) if name == "tags" else value)
            elif name not in {"task", "project", "force", "method"}:
                task.fields[name] = value
        return {"updated": 1}

    def _tasks_get_by_id(self, call: dict[str, Any]) -> dict[str, Any]:
        task = self._task(call)
        record: dict[str, Any] = {
            "execution": {},
            "runtime": {},
            "output": {},
            "script": {"binary": "python", "entry_point": ""},
        }
        record |= {"company": "the-company", **task.fields, "id": task.task_id}
        record |= {name: getattr(task, name) for name in ("name", "type", "status", "status_reason", "tags")}
        record |= {"hyperparams": task.hyperparams, "last_iteration": max([0, *(point[2] for point in task.points)])}
        last: dict[str, Any] = {}
        for title, series, _ in task.points:
            last.setdefault(title, {})[series] = {"metric": title, "variant": series}
        record["last_metrics"] = last
        record["models"] = {"input": [], "output": [{"name": one, "model": key} for one, key in task.outputs.items()]}
        projects = {name: key for key, name in self.projects.items()}
        return {"task": {**record, "project": projects.get(task.project)}}

    def _tasks_get_all(self, call: dict[str, Any]) -> dict[str, Any]:
        tags = set(call.get("system_tags") or [])
        wanted = [
            key
            for key, task in self.tasks.items()
            if key in (call.get("id") or self.tasks) and tags <= set(task.fields.get("system_tags", []))
        ]
        return {"tasks": [self._tasks_get_by_id({"task": key})["task"] for key in wanted]}

    def _tasks_ping(self, call: dict[str, Any]) -> dict[str, Any]:
        return {}

    def _tasks_set_requirements(self, call: dict[str, Any]) -> dict[str, Any]:
        task = self._task(call, to_edit=False)
        if not task.fields.get("script"):
            raise RefusedError(400, 131, f"Task is missing expected fields: id={call['task']}")
        task.fields["script"] = {**task.fields["script"], "requirements": call["requirements"]}
        return {"updated": 1}

    def _tasks_edit_hyper_params(self, call: dict[str, Any]) -> dict[str, Any]:
        task = self._task(call, to_edit=any(item["section"] != "properties" for item in call["hyperparams"]))
        replace = call.get("replace_hyperparams") or "none"
        if replace == "all":
            task.hyperparams = {}
        for section in {item["section"] for item in call["hyperparams"]}:
            items = {item["name"]: item for item in call["hyperparams"] if item["section"] == section}
            kept = {} if replace == "section" else task.hyperparams.get(section, {})
            task.hyperparams[section] = {**kept, **items}
        return {"updated": 1}

    def _events_add_batch(self, call: list[dict[str, Any]]) -> dict[str, Any]:
        """Takes each event that it can, and refuses the call as the real server does."""
        wrong: list[str] = []
        unindexed = 0
        for event in call:
            task = self.tasks.get(event.get("task", ""))
            if event.get("type") not in EVENT_TYPES:
                wrong.append(f"Invalid event type {event.get('type')}")
            elif task is None or task.status == "published":
                wrong.append(f"Invalid task id {event.get('task')}")
            elif event["type"] == "training_stats_scalar":
                place = (event.get("metric") or "", event.get("variant") or "", int(event.get("iter", 0)))
                if _is_indexable(event["value"]) and -(2**63) <= place[2] < 2**63:
                    task.points[place] = (event["value"], event.get("timestamp", int(time.time() * 1000)))
                else:
                    unindexed += 1
            elif event["type"] in ("plot", "training_debug_image"):
                identity = (event[name] for name in ("type", "iter", "metric", "variant", "key") if name in event)
                task.shown[tuple(identity)] = event
            elif event["type"] == "log":
                task.log.append(event)
        if unindexed:
            raise RefusedError(500, 100, f"General data error: err=({unindexed} document(s) failed to index.)")
        if not call:
            raise RefusedError(400, 17, "Batch request contains no items")
        counts = {error: wrong.count(error) for error in wrong}
        if len(wrong) == len(call):
            raise RefusedError(400, 131, "Events not added: " + ", ".join(f"{e}={n}" for e, n in counts.items()))
        return {"added": len(call) - len(wrong), "errors": len(wrong), "errors_info": counts}


def _check_length(name: str) -> None:
    if len(name.strip()) < 3:
        raise RefusedError(400, 800, "Data validation error: name=String value is too short")


def _is_indexable(value: float) -> bool:
    """Whether a value is finite in the 32 bits in which the real server indexes it."""
    try:
        single: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return False
    return abs(single) < float("inf")


class _Handler(BaseHTTPRequestHandler):
    server: ClearmlServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def _serve(self) -> None:
        is_upload = (self.headers.get("Content-Type") or "").startswith("multipart/form-data")
        if not self.server.ill and (is_upload or self.command == "DELETE"):
            self.send_response(self.server.files.answer(self))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        endpoint = self.path.partition("?")[0].rpartition("/")[2]
        self.server.calls.append(endpoint)
        ill = self.server.ill
        if ill in {"down", "hangs"}:
            if ill == "hangs":
                self.server.well_again.wait(120)
            self.close_connection = True
            return
        try:
            batch = self.headers.get("Content-Type") == "application/json-lines"
            call = [json.loads(line) for line in body.splitlines()] if batch else json.loads(body or b"{}")
            data = self.server.answer(endpoint, call, self.headers.get("Authorization") or "")
            self._answer(endpoint, 200, 0, "OK", data)
        except RefusedError as refused:
            self._answer(endpoint, refused.code, refused.subcode, refused.message, {})

    def _answer(self, endpoint: str, code: int, subcode: int, message: str, data: dict[str, Any]) -> None:
        meta: dict[str, Any] = {"id": uuid.uuid4().hex, "trx": uuid.uuid4().hex, "error_stack": None, "error_data": {}}
        meta |= {"endpoint": {"name": endpoint, "requested_version": "2.30", "actual_version": "1.0"}}
        meta |= {"result_code": code, "result_subcode": subcode, "result_msg": message}
        content = json.dumps({"meta": meta, "data": data}).encode()
        self.send_response(code)
        if code == 429:
            self.send_header("Retry-After", "3600")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
