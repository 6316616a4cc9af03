"""What the W&B client takes for a W&B server: it keeps runs in memory and can fall ill."""

from __future__ import annotations

import base64
import gzip
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import quote, unquote

from tests.support.failing_server import FailingServer
from tests.support.wandb_artifacts import KIND, StoredArtifacts

ILLS = ["down", "hangs", "500", "429", "401"]
ENTITY = "tester"
_HISTORY, _SUMMARY = "wandb-history.jsonl", "wandb-summary.json"
_COUNTS = {"historyLineCount": _HISTORY, "eventsLineCount": "wandb-events.jsonl", "logLineCount": "output.log"}
_NAMES = {"displayName": "display_name", "groupName": "group", "jobType": "job_type", "notes": "notes", "tags": "tags"}


@dataclass
class StoredRun:
    """A run as the server knows it."""

    run_id: str
    project: str
    entity: str
    display_name: str | None = None
    group: str | None = None
    job_type: str | None = None
    notes: str | None = None
    tags: list[str] = field(default_factory=list)
    raw_config: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, dict[int, str]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    exit_code: int | None = None
    complete: bool = False

    @property
    def config(self) -> dict[str, Any]:
        return {name: kept["value"] for name, kept in self.raw_config.items() if name != "_wandb"}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Every row that was sent, in order of offsets, W&B's own columns among theirs."""
        return [json.loads(line) for line in self.texts(_HISTORY)]

    @property
    def history(self) -> list[dict[str, Any]]:
        """Rows in order of `_step`, which tells them apart: of those that share one, the last that was sent."""
        rows = {row["_step"]: row for row in self.rows}
        return [rows[step] for step in sorted(rows)]

    @property
    def summary(self) -> dict[str, Any]:
        texts = self.texts(_SUMMARY)
        return json.loads(texts[-1]) if texts else {}

    @property
    def state(self) -> str:
        if not self.complete:
            return "running"
        return "finished" if self.exit_code == 0 else "failed"

    def texts(self, name: str) -> list[str]:
        return [line for _, line in sorted(self.lines.get(name, {}).items())]

    def graphql(self) -> dict[str, Any]:
        """Every field of a run that the client asks for."""
        named = {"id": f"id-of-{self.run_id}", "name": self.run_id, "displayName": self.display_name}
        config = {"config": json.dumps(self.raw_config), "wandbConfig": json.dumps({"t": {}})}
        counts = {count: max(self.lines.get(name, {}), default=-1) + 1 for count, name in _COUNTS.items()}
        tails = {"historyTail": json.dumps(self.texts(_HISTORY)[-1:]), "eventsTail": "[]"}
        about = {"notes": self.notes, "tags": self.tags, "state": self.state, "project": self.project_graphql()}
        return {**named, **config, **counts, **tails, **about, "summaryMetrics": json.dumps(self.summary)}

    def project_graphql(self) -> dict[str, Any]:
        entity = {"id": f"id-of-{self.entity}", "name": self.entity}
        return {"id": f"id-of-{self.project}", "name": self.project, "entity": entity}


class WandbServer(FailingServer):
    """What the W&B client takes for a W&B server."""

    api_key = "notasecret" * 4

    def __init__(self) -> None:
        self.retry_after: str | None = None
        self.refused: set[str] = set()
        """Operations that are refused, as where there is no login; `files` is the stream of rows."""
        self.runs: dict[str, StoredRun] = {}
        self.requests: list[str] = []
        self.lock = threading.Lock()
        super().__init__(_Handler)
        self.artifacts = StoredArtifacts(self.uri)

    def knows(self, authorization: str | None) -> bool:
        return authorization == "Basic " + base64.b64encode(f"api:{self.api_key}".encode()).decode()

    def answer(self, operation: str, asked: dict[str, Any]) -> dict[str, Any] | None:
        """The data that answers a GraphQL operation; none where it is not known."""
        run = self.runs.get(asked.get("name") or asked.get("run") or "")
        if operation == "Viewer":
            user = {"id": f"id-of-{ENTITY}", "entity": ENTITY, "username": ENTITY, "flags": "{}"}
            return {"viewer": {**user, "teams": {"edges": []}}}
        if operation == "UpsertBucket":
            return {"upsertBucket": {"bucket": self._upsert(run, asked).graphql(), "inserted": run is None}}
        if operation == "RunResumeStatus":
            return {"model": {**run.project_graphql(), "bucket": run.graphql()} if run else None}
        if operation == "CreateRunFiles" and run:
            files = [
                {"name": name, "uploadUrl": f"{self.uri}/upload/{run.run_id}/{quote(name)}"} for name in asked["files"]
            ]
            return {"createRunFiles": {"runID": f"id-of-{run.run_id}", "uploadHeaders": [], "files": files}}
        about_artifacts = self.artifacts.answer(operation, asked)
        if about_artifacts is not None:
            return about_artifacts
        known = ("ServerFeaturesQuery", "RunState", "QueryRunInfo", "OrganizationCoreWeaveOrganizationID")
        data: dict[str, Any] = {
            "project": {"run": run.graphql()} if run else None,
            "serverInfo": {"features": []},
            "entity": None,
        }
        return data if operation in known else None

    def _upsert(self, run: StoredRun | None, asked: dict[str, Any]) -> StoredRun:
        run = run or StoredRun(asked["name"], asked.get("project") or "uncategorized", asked.get("entity") or ENTITY)
        self.runs[run.run_id] = run
        for key, name in _NAMES.items():
            if asked.get(key) is not None:
                setattr(run, name, asked[key])
        if asked.get("config"):
            run.raw_config = json.loads(asked["config"])
        return run

    @staticmethod
    def stream(run: StoredRun, sent: dict[str, Any]) -> None:
        """Keeps what a run's file stream brings: a line sent again replaces itself."""
        for name, chunk in (sent.get("files") or {}).items():
            run.lines.setdefault(name, {}).update(enumerate(chunk.get("content", []), chunk.get("offset", 0)))
        run.complete, run.exit_code = bool(sent.get("complete")), sent.get("exitcode")


class _Handler(BaseHTTPRequestHandler):
    server: WandbServer

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        kind, *path = unquote(self.path).lstrip("/").split("/")
        sent = json.loads(body) if kind in ("graphql", "files") else {}
        operation = re.search(r"(?:query|mutation)\s+(\w+)", sent.get("query", ""))
        name = operation.group(1) if operation else kind
        self.server.requests.append(name)
        ill, after = self.server.ill, self.server.retry_after
        if ill == "down":
            self.close_connection = True
        elif ill == "hangs":
            self.server.well_again.wait(120)
        elif ill in ("500", "429"):
            self._say(int(ill), {"error": "ill"}, {"Retry-After": after} if after else {})
        elif name in self.server.refused or (
            kind not in ("upload", KIND) and (ill == "401" or not self.server.knows(self.headers.get("Authorization")))
        ):
            self._refuse(name)
        else:
            with self.server.lock:
                self._say(*self._answer(kind, name, path, sent, body))

    def _answer(
        self, kind: str, name: str, path: list[str], sent: dict[str, Any], body: bytes
    ) -> tuple[int, dict[str, Any]]:
        if name == "CreateArtifact" and self.server.artifacts.refusal:
            return self.server.artifacts.refusal, {"errors": [{"message": "no room"}]}
        if kind == "graphql":
            data = self.server.answer(name, sent.get("variables") or {})
            return 200, {"data": data} if data else {"data": None, "errors": [{"message": f"{name} is not known"}]}
        if kind == KIND:
            return self.server.artifacts.upload(path, body), {}
        run = self.server.runs.get(path[{"files": 2, "upload": 0}[kind]])
        if kind == "files" and run:
            self.server.stream(run, sent)
        elif run:
            run.files["/".join(path[1:])] = body
        return 200 if run else 404, {}

    def _refuse(self, operation: str) -> None:
        if operation == "Viewer":
            self._say(200, {"data": {"viewer": None}})
            return
        path = operation[:1].lower() + operation[1:]
        error = {"message": "user is not logged in", "path": [path], "extensions": {"code": "PERMISSION_ERROR"}}
        self._say(401, {"errors": [error], "data": {path: None}})

    def _say(self, status: int, answer: dict[str, Any], headers: Mapping[str, str] | None = None) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _take  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
