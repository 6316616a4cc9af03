"""Writes a run to Weights & Biases.

`wandb.init` patches its process (`sys.exit`, `sys.excepthook`), and a later `wandb.init` there, such as that of a
`WandbLogger`, would get our run instead of its own. So this is used in relays only. W&B's client starts another
process, wandb-core, which keeps every row in a file and uploads it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tracelet_otel import semconv
from tracelet_otel.errors import TrackerError, TrackerUnavailableError
from tracelet_otel.exporters.base import RunLocation
from tracelet_otel.exporters.wandb.address import check_reachable
from tracelet_otel.exporters.wandb.environment import publish_environment
from tracelet_otel.exporters.wandb.errors import translated
from tracelet_otel.exporters.wandb.failure import store_failure
from tracelet_otel.exporters.wandb.files import files_of, mark_uploaded, upload_error
from tracelet_otel.exporters.wandb.history import RunHistory
from tracelet_otel.exporters.wandb.init import OFFLINE, init, mode_of, prepare
from tracelet_otel.exporters.wandb.mapping import (
    EXIT_CODES,
    KILLED,
    LONGEST_TAG,
    STEP,
    column_names,
    exact_names,
    nested,
)
from tracelet_otel.exporters.wandb.options import WandbOptions
from tracelet_otel.exporters.wandb.rows import RowBuilder
from tracelet_otel.exporters.wandb.run_files import WandbFiles
from tracelet_otel.exporters.words import attempt_in, cut, value_in, with_tags
from tracelet_otel.protocol.decode import Param, Reading
from tracelet_otel.protocol.failure import failure_in
from tracelet_otel.protocol.run_identity import RunIdentity, to_text
from tracelet_otel.settings import Settings

if TYPE_CHECKING:
    import wandb

_T = TypeVar("_T")


class WandbTracker:
    """A run in Weights & Biases; without an API key, a folder for `wandb sync`.

    Args:
        settings: `api_key` takes precedence over the credentials that W&B finds, `run_id` continues a run.
        options: `wandb_base_url` is the server's address, and `wandb_run_id` continues a run as well.
    """

    name = "wandb"
    batch_size = 20_000

    def __init__(self, settings: Settings, options: WandbOptions) -> None:
        self._settings = settings
        self._options = options
        self._run_id = settings.run_id or options.wandb_run_id
        self._rows = RowBuilder(column_names())
        self._history = RunHistory(self.batch_size, self._store_facts)
        self._params: dict[str, Param] = {}
        self._tags: dict[str, str] = {}
        self._facts: dict[str, Any] = {}
        self._lock = threading.RLock()
        """Held where the run is used. Files are written on another thread than rows."""
        self._run: wandb.Run | None = None
        self._before: list[Path] = []
        """Files of the run that were there before it was begun."""
        self._is_whole = False
        """Whether the run, as it was begun, has all that processes before have left."""
        self._is_closed = False
        self._identity: RunIdentity | None = None

    def open(self, run: RunIdentity) -> RunLocation:
        """Start the run, or continue it."""
        with self._lock:
            begun = self._connect(run)
        known = attempt_in(value_in(begun.tags or (), semconv.RUN_ATTEMPT))
        if not begun.offline:
            return RunLocation(str(begun.url), attempt=known if begun.resumed else 0, id=begun.id)
        folder = begun.settings.sync_dir
        paths = [str(path.parent) for path in self._files(run)]
        # All in one call of `wandb sync`: in calls of their own, each would begin at the same row.
        hint = f"the run is offline: upload it with `wandb sync {' '.join(paths) or folder}`"
        return RunLocation(folder, hint, id=begun.id)

    def refusals(self, readings: Sequence[Reading]) -> Mapping[int, str]:
        """Return none: no reading is refused before it is sent."""
        return {}

    def log_readings(self, readings: Sequence[Reading]) -> None:
        """Write readings as rows with `run.log`, without those that an earlier process has written already."""

        def log(run: wandb.Run) -> None:
            self._set_facts(run, self._rows.renamed)
            self._history.add(run, made)
            self._history.wait_for_rows(run)

        with self._lock:
            self._connect()
            made = self._rows.made_of(readings)
            self._do(log)
            self._rows.passed(readings)

    def log_params(self, params: Mapping[str, Param]) -> None:
        """Store hyperparameters in the run's config."""
        self._params.update(params)
        changed = {name.partition("/")[0] for name in params}
        # W&B replaces a group as a whole.
        config = nested({name: param for name, param in self._params.items() if name.partition("/")[0] in changed})
        self._do(lambda run: run.config.update(config, allow_val_change=True))  # type: ignore[no-untyped-call]

    def set_tags(self, tags: Mapping[str, str]) -> Mapping[str, str]:
        """Store tags as the run's tags, which are plain words, the note as its notes, and a failure in the summary."""

        def store(run: wandb.Run) -> None:
            run.tags = tuple(with_tags(run.tags or (), tags, LONGEST_TAG))
            if semconv.NOTE in tags:
                run.notes = tags[semconv.NOTE]
            failure = failure_in(tags)
            if failure is not None:
                store_failure(run, failure)

        self._tags.update(tags)
        self._do(store)
        return cut(tags, LONGEST_TAG)

    def close(self, outcome: str | None, end_unix_nano: int | None = None) -> None:
        """End the run, and wait until everything is uploaded."""
        # W&B measures the time of its own process. The true time is among the facts in the config.
        ended = {} if end_unix_nano is None else {semconv.RUN_END_TIME: to_text(end_unix_nano)}
        self._do(lambda run: self._set_facts(run, {semconv.RUN_OUTCOME: outcome or "unknown", **ended}))
        problem = self._do(lambda run: self._finish(run, EXIT_CODES.get(outcome or "", KILLED)))
        self._is_closed = True
        if problem:
            raise TrackerError(f"W&B has not taken everything: {problem}")

    def file_writer(self) -> WandbFiles:
        """Make what writes files, to the run that this tracker has begun."""
        return WandbFiles(self)

    def begun(self) -> wandb.Run:
        """The run, for who writes its files."""
        with self._lock:
            return self._connect()

    def beside(self, run: wandb.Run, call: Callable[[], _T]) -> _T:
        """Call W&B's client while rows are logged."""
        try:
            return call()
        except ConnectionError as error:
            raise self._died(run, error) from None
        except Exception:
            # Where wandb-core has died, not every error says so, but that of the next call does.
            self._do(self._store_facts)
            raise

    def alone(self, run: wandb.Run, call: Callable[[RunHistory], _T]) -> _T:
        """Call W&B's client while no row is logged."""

        def called(begun: wandb.Run) -> _T:
            if begun is not run:
                raise TrackerUnavailableError("W&B's process has died, and the run was begun again")
            return call(self._history)

        return self._do(called)

    @property
    def _patience_s(self) -> float:
        # Less than the caller of `close` waits, so that it learns the reason.
        return 0.9 * self._settings.relay_patience

    def _begin(self, run: RunIdentity, mode: str) -> wandb.Run:
        if mode not in OFFLINE:
            import wandb

            known = wandb.setup().settings
            address = self._options.wandb_base_url or known.base_url
            check_reachable(address, {"http": known.http_proxy, "https": known.https_proxy})
        self._before = self._files(run)
        self._is_whole = False
        return init(run, mode, self._settings, self._options, self._patience_s)

    def _continue(self, begun: wandb.Run, run: RunIdentity) -> None:
        """Give a run that was begun all that processes before have left. Where this fails, it is to be called again."""
        # Offline, config and summary are empty, also for a run that is continued.
        self._facts = dict(begun.config.get("otel", {}))  # type: ignore[no-untyped-call]
        columns = set(begun.summary.keys())  # type: ignore[no-untyped-call]
        earlier = self._history.begin(begun, self._before)
        self._facts.update(earlier.facts)
        columns |= earlier.columns
        if self._identity is None:
            self._rows = RowBuilder(column_names(exact_names(columns, self._facts)))
        self._identity = run
        self._facts.update(run.attributes)
        # Also where nothing has changed: whoever comes next may read this file only.
        self._store_facts(begun)
        publish_environment(begun, run)
        # Charts have the training's step as their x axis, as those of `WandbLogger`.
        begun.define_metric(STEP)
        begun.define_metric("*", step_metric=STEP, step_sync=True)
        self._history.catch_up(begun)
        self._is_whole = True

    def _finish(self, run: wandb.Run, exit_code: int) -> str | None:
        folder = run.settings.sync_dir
        try:
            run.finish(exit_code=exit_code)
            problem = upload_error(Path(run.settings.log_internal or ""))
            if problem is None:
                mark_uploaded(Path(folder))
        except TimeoutError:
            problem = f"nothing more within {self._patience_s:g} s"
        return problem and f"{problem}. All of it is in {folder}, for `wandb sync --include-online {folder}`"

    def _connect(self, first: RunIdentity | None = None) -> wandb.Run:
        """The run. Where wandb-core has died, it is begun again, with what is not in its files.

        Args:
            first: the run, where it may not have begun yet.
        """
        if self._is_closed:
            raise TrackerUnavailableError("the run is closed in W&B")
        if self._run is not None and self._is_whole:
            return self._run
        identity = first or self._identity
        if identity is None:
            raise TrackerUnavailableError("the run has not begun in W&B")
        with translated():
            prepare()
            begun = self._run = self._run or self._begin(identity, mode_of(self._settings, self._options))
            try:
                self._continue(begun, identity)
            except Exception:
                # Where wandb-core has died, not every error says so, but that of the next call does.
                self._ask(begun)
                raise
        if self._params:
            self.log_params(self._params)
        if self._tags:
            self.set_tags(self._tags)
        return begun

    def _do(self, call: Callable[[wandb.Run], _T]) -> _T:
        with self._lock:
            run = self._connect()
            try:
                return call(run)
            except ConnectionError as error:
                raise self._died(run, error) from None

    def _ask(self, run: wandb.Run) -> None:
        """Ask wandb-core whether it lives.

        Raises:
            TrackerUnavailableError: it does not.
        """
        try:
            self._store_facts(run)
        except ConnectionError as error:
            raise self._died(run, error) from None

    def _died(self, run: wandb.Run, error: ConnectionError) -> TrackerUnavailableError:
        """Take note that wandb-core has died, and with it all runs of this process."""
        import wandb

        with self._lock:
            if self._run is run:
                self._run = None
                with contextlib.suppress(Exception):
                    wandb.teardown()
        return TrackerUnavailableError(f"W&B's process has died: {error}")

    def _files(self, run: RunIdentity) -> list[Path]:
        directory = self._options.wandb_dir
        return files_of(directory, self._run_id or run.run_id) if directory else []

    def _set_facts(self, run: wandb.Run, facts: Mapping[str, Any]) -> None:
        """Store what is not a hyperparameter in the run's config, under `otel`."""
        if not facts.items() <= self._facts.items():
            self._facts.update(facts)
            self._store_facts(run)

    def _store_facts(self, run: wandb.Run) -> None:
        run.config.update({"otel": dict(self._facts)}, allow_val_change=True)  # type: ignore[no-untyped-call]
