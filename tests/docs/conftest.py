from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import warm_command
from tests.support.otlp_receiver import HttpReceiver

SCRIPTS = Path(__file__).with_name("scripts")
WARM = {"python": "", "python3": "", "tracelet-otel": "-m tracelet_otel", "torchrun": "-m torch.distributed.run"}
"""Commands that are Python programs, and what Python is told for each."""
# At import: no setting of the environment is left while a test runs.
TOOLS = os.environ.get("TRACELET_TOOLS", "")


@pytest.fixture(scope="session")
def places(
    tmp_path_factory: pytest.TempPathFactory, warm_server: Callable[[], str], relay_server: Callable[[], str]
) -> Path:
    """A directory of commands whose processes come from the warm server, and of a `pip` that installs nothing."""
    made = tmp_path_factory.mktemp("bin")
    start = f"exec {sys.executable} -I {warm_command.__file__} {warm_server()} {relay_server()} {made / 'python'}"
    scripts = {name: f'{start} {told} "$@"' for name, told in WARM.items()}
    scripts["pip"] = f'exec {sys.executable} {SCRIPTS / "pip_stand_in.py"} "$@"'
    for name, line in scripts.items():
        (made / name).write_text(f"#!/bin/sh\n{line}\n")
        (made / name).chmod(0o755)
    return made


@pytest.fixture
def commands(places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a reader's shell finds: those commands, then those of this environment; and a `train.py`."""
    found = [str(places), str(Path(sys.executable).parent), TOOLS, os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(path for path in found if path))
    # torchrun has ranks of this interpreter.
    monkeypatch.setenv("PYTHON_EXEC", str(places / "python"))
    # MLflow's client keeps a connection for each address, and that with a path from here means another file elsewhere.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    shutil.copy(SCRIPTS / "train.py", tmp_path)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpReceiver]:
    """What listens where OTLP goes by default."""
    receiver = HttpReceiver()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    yield receiver
    receiver.stop()
