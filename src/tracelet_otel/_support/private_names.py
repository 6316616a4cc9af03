"""Private names of libraries that this package hooks or reads, with the versions on which they were seen.

Libraries may rename private names in any release. A hook whose name is gone then records nothing, and a value that is
read by such a name is wrong. So these names are checked before a run begins: `start_logging` raises where one is
missing, and under `opentelemetry-instrument`, where nobody could catch an error, it is logged once.

Nothing is imported for that. Names are looked for in modules that the process has loaded.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any, Final

from tracelet_otel.errors import IncompatibleVersionError


@dataclass(frozen=True)
class PrivateName:
    """A name that its library does not promise to keep.

    Args:
        module: the module that holds it, below the library's package; empty for that itself.
        name: what is looked for in the module, with dots for what is in a class.
        parameters: expected names of a function's first parameters, in order; more may follow.
        sets: attributes that the function sets on `self`, for attributes that exist on instances only.
    """

    module: str
    name: str
    parameters: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()

    def missing(self, module: ModuleType) -> str | None:
        """Check the name in its module.

        Returns:
            What is missing, for a message; None where everything is as expected.
        """
        found: Any = module
        for part in self.name.split("."):
            if part in getattr(found, "__annotations__", {}):
                return None  # a field of the class, which instances have
            try:
                found = inspect.getattr_static(found, part)
            except AttributeError:
                return self.name
        return self._mismatch(found, module)

    def _mismatch(self, function: Any, module: ModuleType) -> str | None:
        """Return which parameters or attributes of a function are not as expected; None where all are."""
        code = getattr(inspect.unwrap(function), "__code__", None) if self.parameters or self.sets else None
        if code is None or code.co_filename != module.__file__:
            return None  # somebody else has replaced the function: it is not checked
        if code.co_varnames[: len(self.parameters)] != self.parameters:
            return f"{self.name}({', '.join(self.parameters)})"
        absent = [attribute for attribute in self.sets if attribute not in code.co_names]
        return f"{self.name.rpartition('.')[0]}.{absent[0]}" if absent else None


@dataclass(frozen=True)
class Library:
    """A library whose private names are used.

    Args:
        packages: import names of the library, each with the distribution that installs it.
        oldest: the oldest version that the names were seen on.
        newest: the newest version that the names were seen on.
        names: the private names.
        tampered: security advisories on releases that were tampered with, by distribution and version.
    """

    packages: Mapping[str, str]
    oldest: str
    newest: str
    names: tuple[PrivateName, ...]
    tampered: Mapping[tuple[str, str], str] = field(default_factory=dict)


CONNECTOR: Final = "trainer.connectors.logger_connector.logger_connector"
"""Module of the connector that passes rows to Lightning's loggers."""
FETCHERS: Final = "loops.fetchers"
"""Module of what fetches batches from the data loaders."""
TRIAL: Final = "_LRCallback"
"""Class of the callback that Lightning's learning rate finder uses in its trials."""
STARTS_RANKS: Final = "_MultiProcessingLauncher"
"""Class of the launcher that starts all ranks, also rank 0, as processes of `multiprocessing`."""
PROFILERS: Final = "profilers.profiler"
"""Module of the class of all profilers."""
NO_PROFILER: Final = "PassThroughProfiler"
"""Class of the profiler that does nothing, which a trainer has where the user gives none."""
WRITES_LATER: Final = "AsyncCheckpointIO"
"""Class of what writes checkpoints on a thread of its own."""
SHARDING: Final = frozenset(("FSDPStrategy", "ModelParallelStrategy", "DeepSpeedStrategy"))
"""Classes of strategies under which a process has a part of each parameter, or of its gradient, only."""
TERMINATED: Final = "SIGTERMException"
"""Class of the exception that Lightning raises after SIGTERM."""
_RESULT: Final = "trainer.connectors.logger_connector.result"

LIGHTNING: Final = Library(
    packages={"lightning.pytorch": "lightning", "pytorch_lightning": "pytorch-lightning"},
    oldest="2.5.2",
    newest="2.6.6",
    names=(
        # How a row reaches the loggers, and the step and epoch of the trainer.
        PrivateName(CONNECTOR, "_LoggerConnector.log_metrics", ("self", "metrics", "step")),
        PrivateName(CONNECTOR, "_LoggerConnector.__init__", sets=("trainer",)),
        PrivateName("trainer.trainer", "Trainer.__init__", sets=("fit_loop",)),
        PrivateName("loops.fit_loop", "_FitLoop.__init__", sets=("epoch_loop", "epoch_progress")),
        PrivateName("loops.training_epoch_loop", "_TrainingEpochLoop.__init__", sets=("_batches_that_stepped",)),
        # How the values of several ranks are combined for a name, and which names loggers get.
        PrivateName("trainer.trainer", "Trainer._results"),
        PrivateName(_RESULT, "_ResultCollection._forked_name", ("self", "result_metric", "on_step")),
        PrivateName(_RESULT, "_ResultMetric.__init__", sets=("meta",)),
        PrivateName(_RESULT, "_Metadata.sync"),
        PrivateName(_RESULT, "_Metadata.logger"),
        PrivateName(_RESULT, "_Metadata.is_sum_reduction"),
        PrivateName(_RESULT, "_Metadata.is_max_reduction"),
        PrivateName(_RESULT, "_Metadata.is_min_reduction"),
        PrivateName(_RESULT, "_Sync.should"),
        PrivateName(_RESULT, "_Sync.rank_zero_only"),
        # What a trainer is doing: trials of the tuner, ranks started as processes, saved hyperparameters, SIGTERM.
        PrivateName("tuner.lr_finder", TRIAL),
        PrivateName("callbacks.lr_finder", "LearningRateFinder.__init__", sets=("_early_exit",)),
        PrivateName("callbacks.batch_size_finder", "BatchSizeFinder.__init__", sets=("_early_exit",)),
        PrivateName("strategies.launchers.multiprocessing", STARTS_RANKS),
        PrivateName("core.mixins.hparams_mixin", "HyperparametersMixin.__init__", sets=("_log_hyperparams",)),
        PrivateName("utilities.exceptions", TERMINATED),
        # What a trainer does: names of its profiler's actions, and its validations, which have none.
        PrivateName("profilers.base", NO_PROFILER),
        PrivateName(FETCHERS, "_DataFetcher"),
        PrivateName("loops.training_epoch_loop", "_TrainingEpochLoop.__init__", sets=("val_loop",)),
    ),
    tampered=dict.fromkeys((("lightning", "2.6.2"), ("lightning", "2.6.3")), "GHSA-w37p-236h-pfx3"),
)

DOES_NOTHING: Final = "_do_nothing"
"""Function of Fabric's that its `launch` runs where the user gives none."""

FABRIC: Final = Library(
    packages={"lightning.fabric": "lightning", "lightning_fabric": "pytorch-lightning"},
    oldest=LIGHTNING.oldest,
    newest=LIGHTNING.newest,
    names=(
        # What `launch` and an overridden `run` have in common, and ranks that start as processes of `multiprocessing`.
        PrivateName("fabric", "Fabric._wrap_and_launch", ("self", "to_run")),
        PrivateName("fabric", DOES_NOTHING),
        PrivateName("strategies.launchers.multiprocessing", STARTS_RANKS),
    ),
)

COMMAND_LINE: Final = Library(
    packages={"lightning.pytorch.cli": "lightning", "pytorch_lightning.cli": "pytorch-lightning"},
    oldest=LIGHTNING.oldest,
    newest=LIGHTNING.newest,
    # The parser that the configuration of a subcommand belongs to.
    names=(PrivateName("", "LightningCLI._parser", ("self", "subcommand")),),
)

_AGGREGATION: Final = "metrics._internal.aggregation"
_CREATE: Final = ("self", "instrument", "attributes", "reservoir_factory", "start_time_unix_nano")

OPENTELEMETRY_SDK: Final = Library(
    packages={"opentelemetry.sdk": "opentelemetry-sdk"},
    oldest="1.45.2",
    newest="1.45.2",
    names=(
        PrivateName("metrics", "_Gauge"),
        PrivateName("metrics", "MeterProvider.__init__", sets=("_sdk_config",)),
        PrivateName("metrics", "MeterProvider._update_resource", ("self", "resource")),
        PrivateName("trace", "TracerProvider.__init__", sets=("_active_span_processor",)),
        PrivateName(_AGGREGATION, "_Aggregation.aggregate", ("self", "measurement", "should_sample_exemplar")),
        PrivateName(_AGGREGATION, "_Aggregation._collect_exemplars", ("self",)),
        PrivateName(_AGGREGATION, "_LastValueAggregation.__init__", ("self", "attributes", "reservoir_builder")),
        PrivateName(_AGGREGATION, "_SumAggregation.__init__", ("self", "attributes", "instrument_is_monotonic")),
        PrivateName("metrics._internal.measurement", "Measurement"),
        PrivateName("metrics._internal.export", "PeriodicExportingMetricReader._at_fork_reinit", ("self",)),
        PrivateName("metrics.view", "LastValueAggregation._create_aggregation", _CREATE),
        PrivateName("metrics.view", "SumAggregation._create_aggregation", _CREATE),
    ),
)


def check(library: Library) -> None:
    """Check the private names of a library in those of its packages that this process has loaded.

    Args:
        library: the library; nothing is checked where it is not loaded.

    Raises:
        IncompatibleVersionError: a name is missing. The message names it, the installed version, and the versions
            that have it.
    """
    for package in library.packages:
        if _is_loaded(package):
            check_package(library, package)


def check_package(library: Library, package: str) -> None:
    """Check the private names of a library in one of its packages, which must be loaded completely.

    Args:
        library: the library.
        package: import name of the package.

    Raises:
        IncompatibleVersionError: a name is missing, as for `check`.
    """
    if missing := list(_missing(library, package)):
        raise IncompatibleVersionError(message(library, library.packages[package], missing))


def requirements(library: Library, *others: str) -> list[str]:
    """Return requirements on those distributions that are installed, of which one is enough; with none, on the first.

    Args:
        library: the library.
        others: more distributions of the same versions that bring a part of it.
    """
    distributions = (*library.packages.values(), *others)
    found = [name for name in distributions if _installed(name) is not None]
    return [f"{name} >= {library.oldest}" for name in found or distributions[:1]]


def message(library: Library, distribution: str, missing: list[str]) -> str:
    """Return the message for a user about names that are missing.

    Args:
        library: library that lacks the names.
        distribution: distribution that installs the library.
        missing: the missing names.
    """
    return (
        f"{distribution} {_installed(distribution) or '(of unknown version)'} is not as expected: "
        f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing, which tracelet-otel needs. "
        f"Versions {library.oldest} to {library.newest} have what is needed: "
        f"pip install '{distribution}>={library.oldest},<={library.newest}'"
    )


def tampered(library: Library) -> Iterator[str]:
    """Yield a warning for each installed release that was tampered with."""
    for distribution in {name for name, _ in library.tampered}:
        installed = _installed(distribution)
        if advisory := library.tampered.get((distribution, installed or "")):
            yield (
                f"{distribution} {installed} is a release that was tampered with ({advisory}): it runs foreign code "
                f"when it is imported. Install another version, and replace the credentials that this machine holds"
            )


def _missing(library: Library, package: str) -> Iterator[str]:
    for one in library.names:
        place = f"{package}.{one.module}".rstrip(".")
        module = sys.modules.get(place)
        missing = one.name if module is None else one.missing(module)
        if missing:
            yield f"{place}.{missing}"


def _is_loaded(package: str) -> bool:
    module = sys.modules.get(package)
    # A package that is still being imported does not have all of its modules yet.
    return module is not None and not getattr(module.__spec__, "_initializing", False)


def _installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
