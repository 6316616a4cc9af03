"""What an MLflow database holds, read with SQL and without MLflow or our own code."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class StoredRun:
    run_id: str
    name: str
    status: str
    experiment: str
    tags: dict[str, str]
    params: dict[str, str]
    points: list[tuple[str, int, float, int]]
    """(name, step, value, timestamp in ms); NaN is NaN."""
    start_ms: int
    end_ms: int | None
    """Both since the epoch; no end where it goes on."""

    @property
    def resource(self) -> dict[str, str]:
        """Resource attributes, also those that MLflow's pages do not show, beside all other tags."""
        prefix = "mlflow.resource."
        hidden = {name.removeprefix(prefix): text for name, text in self.tags.items() if name.startswith(prefix)}
        return {**self.tags, **hidden}

    @property
    def note(self) -> str | None:
        """The description without how the run ended, which we write below the note."""
        found, ours = self.tags.get("mlflow.note.content"), self.tags.get("mlflow.tracelet.summary")
        return found if not found or not ours else found.removesuffix(ours).removesuffix("\n\n") or None

    @property
    def multiset(self) -> Counter[tuple[str, int, Any]]:
        return multiset((name, step, value) for name, step, value, _ in self.points)


def multiset(points: Any) -> Counter[tuple[str, int, Any]]:
    """Points that can be compared: NaN, which equals nothing, by its name."""
    return Counter((name, step, "NaN" if math.isnan(value) else value) for name, step, value in points)


def stored_runs(database: Path) -> list[StoredRun]:
    """All runs of a database, oldest first."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT r.run_uuid, r.name, r.status, e.name, r.start_time, r.end_time "
            "FROM runs r JOIN experiments e USING (experiment_id) "
            "ORDER BY r.start_time"
        ).fetchall()
        return [
            StoredRun(
                run_id,
                name,
                status,
                experiment,
                dict(connection.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run_id,))),
                dict(connection.execute("SELECT key, value FROM params WHERE run_uuid = ?", (run_id,))),
                [
                    (key, step, math.nan if is_nan else value, timestamp)
                    for key, step, value, is_nan, timestamp in connection.execute(
                        "SELECT key, step, value, is_nan, timestamp FROM metrics WHERE run_uuid = ?", (run_id,)
                    )
                ],
                start_ms,
                end_ms,
            )
            for run_id, name, status, experiment, start_ms, end_ms in rows
        ]


def stored_run(database: Path) -> StoredRun:
    """The only run of a database."""
    (run,) = stored_runs(database)
    return run
