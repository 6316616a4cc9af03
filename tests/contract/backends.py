"""The six places that the contract is checked at, and what each of them holds, in common terms."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.clearml_files import session
from tests.support.clearml_server import ClearmlServer, StoredTask
from tests.support.clearml_stored import server_files, session_files
from tests.support.mlflow_files import mlflow_files
from tests.support.mlflow_store import stored_runs
from tests.support.tracker_process import TrackerProcess
from tests.support.waiting import wait_until
from tests.support.wandb_files import offline_files, offline_run
from tests.support.wandb_server import WandbServer
from tests.support.wandb_stored import files_of_offline_run, files_of_online_run
from tracelet_otel import semconv
from tracelet_otel.exporters.base import Tracker
from tracelet_otel.protocol.decode import Param, Reading
from tracelet_otel.protocol.run_identity import RunIdentity
from tracelet_otel.settings import Settings
from tracelet_otel.testing import ContractBackend, KeepsFiles, Point, Stored, StoredFiles, point, reading

PLACES = {
    "mlflow": ["MLflow on SQLite", "MLflow server"],
    "wandb": ["W&B offline", "W&B server"],
    "clearml": ["ClearML offline", "ClearML server"],
}
"""Of each tracker."""


def words(tags: Mapping[str, str], longest: int = 1000) -> list[str]:
    """Tags as plain words, in order."""
    whole = [f"{name}:{value}" if value else name for name, value in tags.items()]
    return sorted(word if len(word) <= longest else word[: longest - 1] + "…" for word in whole)


@dataclass
class Mlflow(ContractBackend, KeepsFiles):
    uri: str
    database: Path
    name = "mlflow"
    statuses = {"finished": "FINISHED", "failed": "FAILED", None: "KILLED"}  # noqa: RUF012
    refused = reading("too far", 1.0, 2**70)

    def settings(self) -> dict[str, Any]:
        return {"backend_url": self.uri}

    def stored(self, run_id: str) -> Stored:
        (run,) = [run for run in stored_runs(self.database) if run.tags.get(semconv.RUN_ID) == run_id]
        exact = {key: run.tags.get(f"{semconv.METRIC_NAME}.{key}", key) for key, *_ in run.points}
        points = Counter(point(exact[key], step, value, time_ms) for key, step, value, time_ms in run.points)
        tags = {name: text for name, text in run.tags.items() if not name.startswith(("mlflow.", "tracelet."))}
        parent = run.tags.get("mlflow.parentRunId")
        return Stored(run.name, run.experiment, run.status, run.params, run.resource, points, tags, run.note, parent)

    def shown_parent(self, parent: RunIdentity) -> str:
        (run,) = [one for one in stored_runs(self.database) if one.tags.get(semconv.RUN_ID) == parent.run_id]
        return run.run_id

    def stored_files(self, run_id: str) -> StoredFiles:
        return mlflow_files(self.uri, self.database, run_id)

    def shown_tags(self, tags: Mapping[str, str]) -> dict[str, str]:
        shown = {}
        for name, text in tags.items():
            key = re.sub(r"[^\w/. -]", "", name, flags=re.ASCII)
            digest = hashlib.sha256(name.encode()).hexdigest()[:8]
            shown[key if key == name else f"{key}_{digest}"] = text
        return shown

    def kept(self, readings: Sequence[Reading]) -> Iterable[Point]:
        for name, step, value, time_ms in super().kept(readings):
            yield name, step, "nan" if value in {"inf", "-inf"} else value, time_ms


class _Wandb(ContractBackend, KeepsFiles):
    name = "wandb"
    statuses = {"finished": 0, "failed": 1, None: 255}  # noqa: RUF012
    keeps_removed = True

    def shown_step(self, step: int | None) -> int | None:
        # Without one, W&B gives the row the last step that there was.
        return step or 0

    def shown_aliases(self, words: set[str]) -> set[str]:
        # One version has an alias at a time.
        return words - {"top-k"}

    def made(self, settings: Settings) -> Tracker:
        # Who closes the run waits for so long.
        return TrackerProcess(self.name, settings.model_copy(update={"relay_patience": settings.stop_timeout}))

    def shown_params(self, params: Mapping[str, Param]) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for name, param in params.items():
            *groups, last = name.split("/")
            group = shown
            for one in groups:
                group = group.setdefault(one, {})
            group[last] = param.value
        return shown

    def shown_tags(self, tags: Mapping[str, str]) -> list[str]:
        return words(tags, 64)

    def shown_parent(self, parent: RunIdentity) -> tuple[str, str]:
        return parent.run_name, "worker"

    def step_without_axis(self, last_step: int) -> int:
        return last_step

    def _stored(
        self,
        name: str | None,
        project: str,
        exit_code: int | None,
        config: dict[str, Any],
        rows: list[dict[str, Any]],
        described: tuple[list[str], str | None],
        purpose: tuple[str | None, str | None],
    ) -> Stored:
        facts = config.pop("otel")
        points: Counter[Point] = Counter()
        for row in rows:
            for column, value in row.items():
                if column != "trainer/global_step" and not (column.startswith("_") and column in self._own_columns):
                    exact = facts.get(f"{semconv.METRIC_NAME}.{column}", column)
                    number = float(value)
                    points[point(exact, row.get("trainer/global_step"), number, round(row["_timestamp"] * 1000))] += 1
        return Stored(name, project, exit_code, config, facts, points, sorted(described[0]), described[1], purpose)

    _own_columns = ("_timestamp", "_runtime", "_step")


@dataclass
class WandbOffline(_Wandb):
    directory: Path

    def stored(self, run_id: str) -> Stored:
        paths = offline_files(self.directory / "wandb", run_id)
        paths = [path for path in paths if not path.parent.is_symlink()]
        # The client's process may write the end a moment after it has said so.
        wait_until(lambda: offline_run(paths[-1]).exit_code is not None, 10, "the end of the run")
        runs = [offline_run(path) for path in paths]
        rows = [row for run in runs for row in run.rows]
        config = {name: value for run in runs for name, value in run.config.items()}
        last = runs[-1]
        described, purpose = (last.tags, last.notes or None), (last.group, last.job_type)
        return self._stored(last.name, last.project, last.exit_code, config, rows, described, purpose)

    def stored_files(self, run_id: str) -> StoredFiles:
        return files_of_offline_run(offline_files(self.directory / "wandb", run_id))


@dataclass
class WandbOnline(_Wandb):
    server: WandbServer

    def settings(self) -> dict[str, Any]:
        return {"backend_url": self.server.uri, "api_key": self.server.api_key}

    def stored(self, run_id: str) -> Stored:
        run = self.server.runs[run_id]
        described = run.tags, run.notes
        purpose = run.group, run.job_type
        config = dict(run.config)
        return self._stored(run.display_name, run.project, run.exit_code, config, run.history, described, purpose)

    def stored_files(self, run_id: str) -> StoredFiles:
        return files_of_online_run(self.server, run_id)


class _Clearml(ContractBackend, KeepsFiles):
    name = "clearml"
    refused = reading("not a number", math.nan)
    system_names = {  # noqa: RUF012
        "system/gpu_0_utilization_percentage": (":monitor:gpu/gpu_0_utilization", 1),
        "system/gpu_12_memory_usage_megabytes": (":monitor:gpu/gpu_12_mem_used_gb", 1e6 / 2**30),
        "system/node_1/gpu_0_power_usage_watts": (":monitor:gpu/node_1_gpu_0_power_usage_watts", 1),
        "system/cpu_utilization_percentage": (":monitor:machine/cpu_usage", 1),
    }

    def kept(self, readings: Sequence[Reading]) -> Iterable[Point]:
        last: dict[tuple[str, int | None], Point] = {}
        for kept in super().kept([one for one in readings if abs(one.value) < 3.4e38]):
            last[kept[:2]] = kept
        return last.values()

    def shown_tags(self, tags: Mapping[str, str]) -> list[str]:
        return words(tags)

    def shown_step(self, step: int | None) -> int:
        return step or 0

    def _points(self, points: Any, properties: dict[str, str]) -> Counter[Point]:
        found: Counter[Point] = Counter()
        for (title, series, step), (value, time_ms) in points.items():
            plain = title if title == series else f"{title}/{series}"
            name = properties.get(f"{semconv.METRIC_NAME}.{title}/{series}", plain)
            found[point(name, step, value, time_ms)] += 1
        return found


@dataclass
class ClearmlOffline(_Clearml):
    directory: Path
    statuses = {  # noqa: RUF012
        "finished": ["outcome: finished"],
        "failed": ["outcome: failed"],
        "interrupted": ["outcome: interrupted"],
        "terminated": ["outcome: terminated"],
        "running": ["outcome: running"],
        None: ["outcome: unknown"],
    }

    def stored(self, run_id: str) -> Stored:
        archive = self.directory / "offline" / f"offline-{run_id}.zip"
        task = session(archive if archive.exists() else archive.with_suffix(""))
        points = self._points(task.points, task.properties)
        ends = [tag for tag in task.tags if tag.startswith("outcome: ")]
        tags = sorted(set(task.tags) - set(ends))
        return Stored(task.name, task.project, ends, task.params, task.properties, points, tags, task.comment)

    def stored_files(self, run_id: str) -> StoredFiles:
        return session_files(self.directory / "offline" / f"offline-{run_id}.zip")


@dataclass
class ClearmlOnline(_Clearml):
    server: ClearmlServer
    statuses = {"finished": "completed", "failed": "failed", None: "stopped"}  # noqa: RUF012

    def stored(self, run_id: str) -> Stored:
        task = self._task(run_id)
        points = self._points(task.points, task.properties)
        described = sorted(task.tags), task.fields.get("comment")
        parent = task.fields.get("parent")
        return Stored(task.name, task.project, task.status, task.params, task.properties, points, *described, parent)

    def shown_parent(self, parent: RunIdentity) -> str:
        return self._task(parent.run_id).task_id

    def stored_files(self, run_id: str) -> StoredFiles:
        return server_files(self.server, self._task(run_id))

    def _task(self, run_id: str) -> StoredTask:
        (task,) = [one for one in self.server.tasks.values() if one.properties.get(semconv.RUN_ID) == run_id]
        return task
