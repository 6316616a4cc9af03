"""What the wrappers around Fabric's functions call. Errors are caught and reported here.

A Fabric has no fit: a training is what a script does with it. It begins with the first optimizer that is set up, or
with the first row, and ends with what Fabric has launched, or with the run.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from time import time_ns
from typing import TYPE_CHECKING, Any

from tracelet_otel import semconv
from tracelet_otel._support.private_names import STARTS_RANKS
from tracelet_otel.instrumentation.checkpoints import CheckpointNote, absolute
from tracelet_otel.instrumentation.lightning.fabric.configuration import configuration_of
from tracelet_otel.instrumentation.lightning.fabric.launched import LaunchedFunction
from tracelet_otel.instrumentation.lightning.fabric.seen_fabric import SeenFabric
from tracelet_otel.instrumentation.lightning.trainer_config import optimizer_settings, parameter_counts
from tracelet_otel.instrumentation.recorder import Row
from tracelet_otel.instrumentation.scalars import snapshot
from tracelet_otel.instrumentation.signals import Signals
from tracelet_otel.resource.rank_info import RankInfo

if TYPE_CHECKING:
    from tracelet_otel.instrumentation.launching import InStartedProcess
    from tracelet_otel.instrumentation.lightning.media_calls import KnowsHooks
    from tracelet_otel.instrumentation.lightning.rows import Rows

Prepare = Callable[[Any], None]
"""Is called with a Fabric when it is seen for the first time."""


class FabricHooks:
    """Records what Fabrics log, as Fabric's own loggers would: of several ranks that is what rank 0 logs.

    Args:
        signals: where it goes.
        rows: knows which rows are copies of others.
    """

    def __init__(self, signals: Signals, rows: Rows) -> None:
        self._signals = signals
        self._rows = rows
        self._guard = signals.guard
        self._record = signals.recorder.record
        self._membership = signals.membership
        self._all: weakref.WeakKeyDictionary[Any, SeenFabric] = weakref.WeakKeyDictionary()
        self._last: Callable[[], Any] = lambda: None
        """Returns the Fabric of `_known`."""
        self._known: SeenFabric | None = None

    def made(self, fabric: Any, prepare: Prepare) -> None:
        """A Fabric was made: what its loggers are handed is recorded from now on. Never raises.

        Args:
            fabric: the Fabric.
            prepare: called with it.
        """
        try:
            self._see(fabric, prepare)
        except Exception as error:
            self._guard.report("what the loggers of a Fabric are handed will be missing", error)

    def take(self, fabric: Any, metrics: Any, step: Any, prepare: Prepare) -> None:
        """Record a row. Never raises.

        This runs on the training thread. What the user hands over may change later, so tensors are copied, on their
        device. Whether Fabric waits for the device is not changed by it.

        Args:
            fabric: the Fabric.
            metrics: values by name.
            step: the step that was given; None for none.
            prepare: called with a Fabric that is new.
        """
        try:
            known = self._known if fabric is self._last() else None
            self._put(known or self._see(fabric, prepare), metrics, step)
        except Exception as error:
            self._guard.report("a row of metrics could not be taken from Fabric", error)

    def take_logged(self, logger: Any, metrics: Mapping[str, Any], step: Any) -> None:
        """Record a row that the user hands to one logger of a Fabric, once for all loggers that get the same.

        Args:
            logger: the logger; nothing is recorded of one that belongs to no Fabric.
            metrics: values by name.
            step: the step that was given; None for none.
        """
        fabric = self._fabric_of(logger)
        if fabric is None or (len(fabric.loggers) > 1 and self._rows.is_copy(fabric, logger, metrics, step)):
            return
        self._put(self._all[fabric], metrics, step)

    def take_hyperparams(self, logger: Any, params: Any, metrics: Mapping[str, Any], step: Any) -> None:
        """Record hyperparameters that the user hands to one logger of a Fabric, and metrics with them.

        Args:
            logger: the logger; nothing is recorded of one that belongs to no Fabric.
            params: the hyperparameters; None for none.
            metrics: values by name.
            step: their step; None for none.
        """
        fabric = self._fabric_of(logger)
        if fabric is None or self._is_silent(self._all[fabric]):
            return
        if params is not None:
            self._signals.hparams.update(params)
        if metrics:
            self.take_logged(logger, metrics, step)

    def begin(self, fabric: Any, prepare: Prepare) -> None:
        """An optimizer is about to be set up: the Fabric is going to train. Never raises.

        Args:
            fabric: the Fabric.
            prepare: called with a Fabric that is new.
        """
        try:
            self._begin(self._see(fabric, prepare))
        except Exception as error:
            self._guard.report("the start of a training was not seen", error)

    def set_up(self, fabric: Any, module: Any | None, optimizers: tuple[Any, ...], prepare: Prepare) -> None:
        """A module and optimizers have been set up. Never raises.

        Args:
            fabric: the Fabric.
            module: the module; None for none.
            optimizers: the optimizers.
            prepare: called with a Fabric that is new.
        """
        try:
            seen = self._see(fabric, prepare)
            found = {**dict(configuration_of(fabric)), **dict(optimizer_settings(optimizers, seen.optimizers))}
            seen.optimizers += len(optimizers)
            if module is not None:
                found.update(parameter_counts(module, seen.modules))
                seen.modules += 1
            if not self._is_silent(seen) and seen.is_first:
                self._signals.hparams.update(found)
        except Exception as error:
            self._guard.report("the training's configuration could not be read", error)

    def launch(
        self, fabric: Any, function: Callable[..., Any], source: KnowsHooks, prepare: Prepare
    ) -> Callable[..., Any]:
        """A Fabric is about to launch, and may start processes for that. Never raises.

        Args:
            fabric: the Fabric.
            function: what it launches.
            source: knows where a process reports to.
            prepare: called with a Fabric that is new.

        Returns:
            What it is to launch instead.
        """
        try:
            seen = self._see(fabric, prepare)
            in_process = self._announce(fabric)
            self._signals.outcome.value = semconv.OUTCOME_RUNNING
            return LaunchedFunction(function, fabric, source, in_process, seen.rows)
        except Exception as error:
            self._guard.report("the start of a training was not seen", error)
            return function

    def launched(self, fabric: Any) -> None:
        """A Fabric has been launched in this process, and knows its rank. Never raises."""
        try:
            if (seen := self._all.get(fabric)) is None:
                seen = self._all[fabric] = SeenFabric(fabric)
            seen.look(fabric)
            self._learn_rank(fabric)
        except Exception as error:
            self._guard.report("the rank of a process was not seen", error)

    def enter_copy(self, fabric: Any, rows: int, prepare: Prepare) -> None:
        """A Fabric continues in this process, which was started for it.

        Args:
            fabric: the copy of the Fabric.
            rows: rows that it has been handed before.
            prepare: called with it.
        """
        self._see(fabric, prepare).rows = rows
        self.launched(fabric)

    def launch_ends(self) -> None:
        """All processes of a launch have been started: one that starts from now on is not one of its ranks."""
        try:
            self._signals.launching.end()
        except Exception as error:
            self._guard.report("the end of a launch was not seen", error)

    def ended(self, error: BaseException | None) -> None:
        """A function of the user's that a Fabric has launched has ended, by the exception or by none. Never raises."""
        try:
            self._signals.outcome.training_ended(error)
        except Exception as problem:
            self._guard.report("the end of a training was not seen", problem)

    def saved(self, fabric: Any, path: Any, prepare: Prepare) -> None:
        """A Fabric has written a checkpoint. Never raises.

        Args:
            fabric: the Fabric.
            path: the file or directory.
            prepare: called with a Fabric that is new.
        """
        checkpoints = self._signals.checkpoints
        try:
            seen = self._see(fabric, prepare)
            if seen.is_first and not checkpoints.is_off and not self._membership.is_shadow(seen.world_size):
                checkpoints.notes.append(CheckpointNote(absolute(os.fspath(path)), time_ns()))
        except Exception as error:
            checkpoints.report(error)

    def _see(self, fabric: Any, prepare: Prepare) -> SeenFabric:
        seen = self._all.get(fabric)
        if seen is None:
            seen = self._all[fabric] = SeenFabric(fabric)
            prepare(fabric)
        self._last, self._known = weakref.ref(fabric), seen
        return seen

    def _begin(self, seen: SeenFabric) -> None:
        seen.has_begun = True
        self._signals.outcome.value = semconv.OUTCOME_RUNNING
        if not self._is_silent(seen):
            self._signals.training_begins()

    def _put(self, seen: SeenFabric, metrics: Mapping[str, Any], step: Any) -> None:
        if not seen.has_begun:
            self._begin(seen)
        # Numbers of rows as `CSVLogger` counts them: also those before a row that have a step.
        number, seen.rows = seen.rows, seen.rows + 1
        if not metrics or self._is_silent(seen):
            return
        values = {name: snapshot(value) for name, value in metrics.items()}
        axis = semconv.AXIS_ROW if step is None else semconv.AXIS_USER
        row = Row(time_ns(), values, number if step is None else snapshot(step), axis, "")
        if seen.world_size > 1 and self._signals.ranks_apart:
            row = row._replace(training=self._membership.training, world_size=seen.world_size)
        self._record(row)

    def _is_silent(self, seen: SeenFabric) -> bool:
        """Whether what a Fabric logs is not recorded: rank 0 reports it, or has before it started this process."""
        if not seen.is_first and not self._signals.ranks_apart:
            return True
        return self._membership.is_shadow(seen.world_size)

    def _fabric_of(self, logger: Any) -> Any | None:
        for fabric in list(self._all):
            if any(one is logger for one in fabric.loggers):
                return fabric
        return None

    def _announce(self, fabric: Any) -> InStartedProcess | None:
        """Make the run known to the ranks that a Fabric is about to start; returns what their copies have to call."""
        membership, launching, strategy = self._membership, self._signals.launching, fabric.strategy
        starts_ranks = any(base.__name__ == STARTS_RANKS for base in type(strategy.launcher).__mro__)
        world_size = getattr(strategy, "num_processes", 1) * getattr(strategy, "num_nodes", 1)
        membership.begin(world_size)
        if starts_ranks or world_size > 1:
            launching.begin(membership.training)
        if not starts_ranks:
            return None
        # This process only waits for those that train.
        membership.rank_info = None
        in_process = launching.in_process
        if in_process is None:
            self._guard.report(
                "what the processes of this training log is not recorded",
                "they are started from this one and need a relay, which relay=False turns off",
            )
        return in_process

    def _learn_rank(self, fabric: Any) -> None:
        membership = self._membership
        if fabric.world_size > 1 or membership.rank_info is None:
            # A Fabric of one process takes itself for rank 0, on each rank. So a known rank is not replaced by it.
            known = membership.rank_info
            found = RankInfo(fabric.global_rank, fabric.local_rank, fabric.node_rank, fabric.world_size)
            membership.rank_info = found
            if known is None and not found.is_first and self._signals.owns_run:
                self._guard.report(
                    f"{found} has recorded a run of its own",
                    "nothing said that it is a rank when start_logging was called: set RANK and LOCAL_RANK before",
                )
