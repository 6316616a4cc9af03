"""Writes a run to ClearML. The one file that imports its client, only to read its configuration as the client does.

`task` writes tasks to a server, and `session` to a folder where there is none. `Task.init` is never called: it seeds
random generators, forks and patches its process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tracelet_otel import semconv
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters.base import RunLocation
from tracelet_otel.exporters.clearml.api import ApiServer, files_address
from tracelet_otel.exporters.clearml.files import ClearmlFiles
from tracelet_otel.exporters.clearml.mapping import (
    Graph,
    Graphs,
    event,
    exact_name_properties,
    known_graphs,
    refusal,
)
from tracelet_otel.exporters.clearml.options import CREDENTIALS, ClearmlOptions
from tracelet_otel.exporters.clearml.server_files import ServerFiles
from tracelet_otel.exporters.clearml.session import OfflineSession
from tracelet_otel.exporters.clearml.session_files import SessionFiles
from tracelet_otel.exporters.clearml.task import ServerTask
from tracelet_otel.exporters.words import attempt_in, value_in
from tracelet_otel.protocol.decode import Param, Reading
from tracelet_otel.protocol.failure import Failure, failure_in
from tracelet_otel.protocol.run_identity import RunIdentity, to_text
from tracelet_otel.settings import Settings


class _Task(Protocol):
    """A task, on a server or in a folder."""

    task_id: str
    is_continued: bool

    def begin(self, run: RunIdentity) -> str: ...
    def graphs(self) -> list[Graph]: ...
    def properties(self) -> dict[str, str]: ...
    def tags(self) -> list[str]: ...
    def add(self, events: Sequence[Mapping[str, Any]]) -> None: ...
    def set_params(self, params: Mapping[str, Param]) -> None: ...
    def set_properties(self, properties: Mapping[str, str]) -> None: ...
    def set_tags(self, tags: Mapping[str, str]) -> None: ...
    def end(self, outcome: str | None, failure: Failure | None) -> None: ...


class ClearmlTracker:
    """A task in ClearML; where no server is configured, a session for `Task.import_offline_session`.

    Args:
        settings: `run_id` continues a task.
        options: `clearml_api_host` takes precedence over the server's address in `clearml.conf`, and `clearml_task_id`
            continues a task as well.

    Raises:
        ConfigurationError: a server is named, but there are no credentials for it.
    """

    name = "clearml"
    batch_size = 1000

    def __init__(self, settings: Settings, options: ClearmlOptions) -> None:
        self._wanted = settings.run_id or options.clearml_task_id
        self._server, directory = configured(options)
        self._session = OfflineSession(directory, self._wanted) if self._server is None else None
        self._task: _Task = self._session or ServerTask(self._server, self._wanted)  # type: ignore[arg-type]
        self._graphs = Graphs()
        self._properties: dict[str, str] = {}
        self._failure: Failure | None = None

    def open(self, run: RunIdentity) -> RunLocation:
        """Create the task, or continue it. The project is created where it does not exist."""
        url = self._task.begin(run)
        self._properties = self._task.properties()
        self._graphs = Graphs(known_graphs(self._task.graphs(), self._properties))
        known = attempt_in(value_in(self._task.tags(), semconv.RUN_ATTEMPT))
        if self._session is None:
            return RunLocation(url, attempt=known if self._task.is_continued else 0, id=self._task.task_id)
        return RunLocation(
            url,
            "no server is configured, so the run is offline: when it has ended, import it with `python -c "
            f"\"from clearml import Task; Task.import_offline_session('{self._session.archive}')\"`",
            known,
            self._task.task_id,
        )

    def file_writer(self) -> ClearmlFiles:
        """Make what writes files, with a connection of its own."""
        if self._session is not None:
            return ClearmlFiles(SessionFiles(self._session))
        assert self._server is not None  # noqa: S101
        return ClearmlFiles(ServerFiles(self._server, self._wanted))

    def refusals(self, readings: Sequence[Reading]) -> Mapping[int, str]:
        """Return why some readings can never be stored, by place: NaN, infinities, and values beyond 32 bits."""
        return {place: reason for place, one in enumerate(readings) if (reason := refusal(one)) is not None}

    def log_readings(self, readings: Sequence[Reading]) -> None:
        """Store readings as events. Storing the same ones again changes nothing."""
        graphs = [self._graphs.graph(reading.name, is_system=reading.is_system) for reading in readings]
        names = {graph: one.name for one, graph in zip(readings, graphs, strict=True) if not one.is_system}
        exact = exact_name_properties(names)
        if not exact.items() <= self._properties.items():
            self._task.set_properties(exact)
            self._properties.update(exact)
        self._task.add([event(one, graph, self._task.task_id) for one, graph in zip(readings, graphs, strict=True)])

    def log_params(self, params: Mapping[str, Param]) -> None:
        """Store hyperparameters. A later value replaces an earlier one."""
        self._task.set_params(params)

    def set_tags(self, tags: Mapping[str, str]) -> Mapping[str, str]:
        """Store tags as the task's tags, which are plain words, and the note as its comment.

        Why the run failed is stored when it ends, as the reason of its status.
        """
        self._failure = failure_in(tags) or self._failure
        self._task.set_tags(tags)
        return {}

    def close(self, outcome: str | None, end_unix_nano: int | None = None) -> None:
        """End the task with the status of its outcome."""
        if end_unix_nano is not None:
            # ClearML measures the time between the calls that it gets. The true time is among the properties.
            self._task.set_properties({semconv.RUN_END_TIME: to_text(end_unix_nano)})
        self._task.end(outcome, self._failure)


def configured(options: ClearmlOptions) -> tuple[ApiServer | None, Path]:
    """The server that ClearML's own configuration names, if any, and the directory of offline sessions."""
    import clearml.config
    import pathlib2
    from clearml.backend_api import Session, load_config
    from clearml.backend_api.session import defs
    from clearml.config.defs import CLEARML_CACHE_DIR, DEFAULT_CACHE_DIR

    # Loaded separately: the one that ClearML keeps for the process would change the levels of other loggers.
    config: Any = load_config(pathlib2.Path(clearml.config.__file__).parent)
    cache = CLEARML_CACHE_DIR.get() or config.get("sdk.storage.cache.default_base_dir", None) or DEFAULT_CACHE_DIR
    directory = Path(os.path.expandvars(cache)).expanduser().absolute() / "offline"
    if defs.ENV_OFFLINE_MODE.get():
        return None, directory
    access_key = defs.ENV_ACCESS_KEY.get() or config.get("api.credentials.access_key", None)
    secret_key = defs.ENV_SECRET_KEY.get() or config.get("api.credentials.secret_key", None)
    if not access_key or not secret_key:
        if options.clearml_api_host is not None:
            raise ConfigurationError(
                f"ClearML's server is named and nothing to log in with: set {CREDENTIALS}, or have them in clearml.conf"
            )
        return None, directory
    configured = Session.get_api_server_host(config=config)
    api = (options.clearml_api_host or configured).rstrip("/")
    web: str | None = None
    files: str | None = defs.ENV_FILES_HOST.get() or files_address(api)
    with contextlib.suppress(ValueError):
        # What is configured belongs to the configured server, and not to another one that settings name.
        if api == configured:
            files = Session.get_files_server_host(config=config)
            web = Session.get_app_server_host(config=config)
    verify = defs.ENV_HOST_VERIFY_CERT.get(default=config.get("api.verify_certificate", True))
    is_verified = str(verify).lower() not in ("false", "0", "no")
    files = None if files is None else files.rstrip("/")
    return ApiServer(api, web, access_key, secret_key, is_verified, files), directory
