"""What users call: a change of it is a decision, and shows here."""

from __future__ import annotations

import inspect
from importlib.metadata import version

import tracelet_otel
from tracelet_otel.logger import TraceletLogger
from tracelet_otel.run import Run

FUNCTIONS = {
    "start_logging": (
        "(exp_name: 'str | None' = None, project: 'str | None' = None, backend: 'str | Sequence[str] | None' = None, "
        "api_key: 'str | None' = None, backend_url: 'str | None' = None, config: 'Mapping[str, Any] | None' = None, *, "
        "isolated: 'bool' = False) -> 'Run'"
    ),
    "prepare_logging": (
        "(backend: 'str | Sequence[str] | None' = None, backend_url: 'str | None' = None, "
        "config: 'Mapping[str, Any] | None' = None) -> 'None'"
    ),
    "stop_logging": "() -> 'None'",
    "get_active_run": "() -> 'Run | None'",
}
RUN = {
    "accounts": "property",
    "errors": "property",
    "id": "property",
    "ids": "property",
    "log_artifact": "(self, path: 'str | Path', name: 'str | None' = None) -> 'None'",
    "log_audio": (
        "(self, name: 'str', audio: 'Any', sample_rate: 'int | None' = None, step: 'int | None' = None) -> 'None'"
    ),
    "log_figure": "(self, name: 'str', figure: 'Any', step: 'int | None' = None) -> 'None'",
    "log_image": "(self, name: 'str', image: 'Any', step: 'int | None' = None) -> 'None'",
    "log_table": (
        "(self, name: 'str', data: 'Any', columns: 'Sequence[str] | None' = None, step: 'int | None' = None) -> 'None'"
    ),
    "log_text": "(self, name: 'str', text: 'str', step: 'int | None' = None) -> 'None'",
    "log_metric": "(self, name: 'str', value: 'Any', step: 'int | None' = None) -> 'None'",
    "log_params": "(self, params: 'Mapping[str, Any]') -> 'None'",
    "set_note": "(self, text: 'str') -> 'None'",
    "set_tags": "(self, tags: 'Mapping[str, str]') -> 'None'",
    "stop": "(self, outcome: 'str | None' = None) -> 'None'",
    "urls": "property",
}
INTERNAL = {"check_thread", "flush", "hand_on", "hooks", "is_of_this_process", "is_open"}
"""Public for other files of ours."""
LOGGER = {
    "experiment": "property",
    "log_audio": "(self, key: 'str', audios: 'list[Any]', step: 'int | None' = None, **others: 'Any') -> 'None'",
    "log_hyperparams": (
        "(self, params: 'Mapping[str, Any] | Namespace', metrics: 'Any' = None, step: 'int | None' = None) -> 'None'"
    ),
    "log_image": "(self, key: 'str', images: 'list[Any]', step: 'int | None' = None, **others: 'Any') -> 'None'",
    "log_metrics": "(self, metrics: 'Mapping[str, Any]', step: 'int | None' = None) -> 'None'",
    **dict.fromkeys(
        ("log_table", "log_text"),
        "(self, key: 'str', columns: 'list[str] | None' = None, data: 'list[list[Any]] | None' = None, "
        "dataframe: 'Any' = None, step: 'int | None' = None) -> 'None'",
    ),
    "name": "property",
    "save_dir": "property",
    "version": "property",
}
ERRORS = [
    "ConfigurationError",
    "IncompatibleVersionError",
    "MissingDependencyError",
    "TraceletError",
    "TrackerError",
    "TrackerUnavailableError",
]


def shown(found: object) -> str:
    return "property" if isinstance(found, property) else str(inspect.signature(found))


def named(cls: type) -> dict[str, object]:
    """What a class has under public names."""
    return {name: found for one in cls.__mro__[:-1] for name, found in vars(one).items() if not name.startswith("_")}


def test_names_and_signatures():
    assert sorted(tracelet_otel.__all__) == sorted([*FUNCTIONS, *ERRORS, "Run", "TraceletLogger"])
    assert {name: shown(getattr(tracelet_otel, name)) for name in FUNCTIONS} == FUNCTIONS
    of_run = named(Run)
    assert {name: shown(found) for name, found in of_run.items() if name not in INTERNAL} == RUN
    assert of_run.keys() - RUN.keys() == INTERNAL
    assert str(inspect.signature(TraceletLogger)) == "(save_dir: 'str | PathLike[str] | None' = None) -> 'None'"
    assert {name: shown(found) for name, found in named(TraceletLogger).items()} == LOGGER


def test_the_version_is_that_of_the_distribution():
    assert tracelet_otel.__version__ == version("tracelet-otel")
    assert "__version__" in dir(tracelet_otel)


def test_users_can_import_what_they_know():
    from tracelet_otel.gpu import GpuInstrumentor
    from tracelet_otel.instrumentation.lightning import LightningInstrumentor

    assert {GpuInstrumentor.__name__, LightningInstrumentor.__name__} == {"GpuInstrumentor", "LightningInstrumentor"}
