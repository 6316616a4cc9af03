"""The command `tracelet-otel run`: a training that has never heard of us, with the settings that it is to have.

It does what `opentelemetry-instrument` does: it puts OpenTelemetry's `sitecustomize` where Python finds it, sets
variables, and becomes the command. So pid, signals, exit code and terminal are those of the command, and what it starts
is recorded as well: everything travels by the environment.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NoReturn

import click

from tracelet_otel._support.environment import environment, sdk_disabled
from tracelet_otel.errors import ConfigurationError, TraceletError

_INSTRUMENTS: Final = "opentelemetry.instrumentation.auto_instrumentation"
"""The package in whose directory that `sitecustomize` is."""
_SECRETS: Final = ("api_key", "relay_token")
"""Settings that are not taken from the command line, which every user of a machine can read."""
_EXPORTER: Final = "OTEL_METRICS_EXPORTER"
_INTERVAL: Final = "OTEL_METRIC_EXPORT_INTERVAL"
_WRONG: Final = 2
"""Exit code where the command line is wrong, as Python and shells have it."""
_CANNOT_RUN: Final = 126
_NOT_FOUND: Final = 127


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--backend", help="Backends, separated by commas; default: TRACELET_BACKEND, or that of start_logging.")
@click.option("--project", help="Name of the project.")
@click.option("--name", help="Name of the run; default: made of the script's name and the time.")
@click.option("--backend-url", help="Address of the backend; default: what its own environment variable says.")
@click.option("--setting", "settings", multiple=True, metavar="NAME=VALUE", help="Any other setting; may be repeated.")
@click.option("-m", "is_module", is_flag=True, help="The command is a module, as for `python -m`.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def run(
    backend: str | None,
    project: str | None,
    name: str | None,
    backend_url: str | None,
    settings: tuple[str, ...],
    *,
    is_module: bool,
    command: tuple[str, ...],
) -> None:
    """Record what COMMAND trains, whose code is not changed: `tracelet-otel run --backend mlflow python train.py`.

    COMMAND may be any program that starts Python at some point, as torchrun or a shell script; a Python script by its
    name; or, after -m, a module.
    """
    named = {"backend": backend, "project": project, "exp_name": name, "backend_url": backend_url}
    given = {key: value for key, value in named.items() if value is not None}
    try:
        for one in settings:
            given |= _parsed(one)
        variables = instrumented(environment(), given)
    except TraceletError as error:
        _fail(str(error), _WRONG)
    if not command:
        _fail("say what to run, as in `tracelet-otel run python train.py`", _WRONG)
    if sdk_disabled():
        click.echo("tracelet: OTEL_SDK_DISABLED is true, so nothing is recorded", err=True)
    _become([sys.executable, "-m", *command] if is_module else _completed(command), variables)


def instrumented(variables: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The environment in which a training records itself.

    Args:
        variables: those of this process. They take precedence over all that is set here but for `given`.
        given: settings of the command line, by name; they take precedence over variables.

    Raises:
        TraceletError: a setting is unknown or wrong, or a backend cannot be used.
    """
    from tracelet_otel.exporters.registry import absolute, check_all
    from tracelet_otel.settings import load

    settings = load(given, None)
    check_all(absolute(settings))
    own = {f"TRACELET_{name.upper()}": value for name, value in given.items()}
    ours = {_EXPORTER: "tracelet"}
    # This reader of the SDK's has an interval of its own, and would show the first values after a minute.
    interval = {_INTERVAL: str(max(round(settings.export_interval * 1e3), 1))}
    return {
        **ours,
        **interval,
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        **variables,
        **own,
        **(ours if "backend" in given else {}),
        **(interval if "export_interval" in given else {}),
        "PYTHONPATH": _search_path(variables.get("PYTHONPATH", "")),
    }


def _search_path(before: str) -> str:
    """Value of PYTHONPATH by which an interpreter is instrumented.

    The working directory is not added, as `opentelemetry-instrument` does it: a file there could take the place of a
    module of the same name.
    """
    found = find_spec(_INSTRUMENTS)
    first = str(Path(found.origin).parent) if found is not None and found.origin else ""
    return os.pathsep.join([first, *(path for path in before.split(os.pathsep) if path and path != first)])


def _parsed(setting: str) -> dict[str, str]:
    """A setting by name.

    Raises:
        ConfigurationError: it has another form, or is a secret.
    """
    name, equals, value = setting.partition("=")
    key = name.strip().lower().removeprefix("tracelet_")
    if not (key and equals):
        raise ConfigurationError(f"--setting takes NAME=VALUE, as in --setting track_gradients=50, and not {setting!r}")
    if key in _SECRETS:
        raise ConfigurationError(f"{key} is a secret, and others can read command lines: set TRACELET_{key.upper()}")
    return {key: value}


def _completed(command: Sequence[str]) -> list[str]:
    """A command, where it is a Python script with the interpreter of this process before it."""
    return [sys.executable, *command] if command[0].endswith(".py") else list(command)


def _become(command: Sequence[str], variables: Mapping[str, str]) -> NoReturn:
    """Replace this process by a command."""
    path = shutil.which(command[0], path=variables.get("PATH"))
    if path is None:
        is_there = os.sep in command[0] and Path(command[0]).exists()
        why = "cannot be executed" if is_there else "is not found"
        _fail(f"the command {command[0]!r} {why}", _CANNOT_RUN if is_there else _NOT_FOUND)
    # Python ignores these two, and who is executed would inherit that.
    for number in ("SIGPIPE", "SIGXFSZ"):
        if hasattr(signal, number):
            signal.signal(getattr(signal, number), signal.SIG_DFL)
    try:
        os.execve(path, list(command), dict(variables))  # noqa: S606
    except OSError as error:
        _fail(f"the command {command[0]!r} cannot be executed: {error.strerror}", _CANNOT_RUN)


def _fail(problem: str, code: int) -> NoReturn:
    click.echo(f"tracelet: {problem}", err=True)
    sys.exit(code)
