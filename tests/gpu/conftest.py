from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.gpu import stand_in
from tests.gpu.observing import Observing, observing
from tests.gpu.stand_in import StandIn
from tests.support import services
from tests.support.warm import start_server

IMPORTED = (
    "opentelemetry.instrumentation.distro",
    "opentelemetry.instrumentation.instrumentor",
    "opentelemetry.sdk.metrics.export",
    "psutil",
)
"""What a process imports to observe GPUs; nothing of ours."""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in for NVML, compiled."""
    return stand_in.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="session")
def old_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a driver that lacks newer functions."""
    return stand_in.build(tmp_path_factory.mktemp("old-nvml"), "-DOLD_DRIVER")


@pytest.fixture
def nvml(library: Path, tmp_path: Path) -> StandIn:
    """A driver that does what a test says."""
    return StandIn(library, tmp_path / "nvml.txt")


@pytest.fixture
def old_nvml(old_library: Path, tmp_path: Path) -> StandIn:
    return StandIn(old_library, tmp_path / "nvml.txt")


@pytest.fixture(scope="session")
def light_server() -> Callable[[], str]:
    """Starts a warm server without Lightning, whose children end sooner; returns the path of its socket."""
    return lambda: str(services.shared("light", lambda home: start_server(home, *IMPORTED))["socket"])


@pytest.fixture
def observe(
    tmp_path: Path,
    is_cold: bool,
    warm_server: Callable[[], str],
    light_server: Callable[[], str],
) -> Iterator[Callable[..., Observing]]:
    """Starts processes that observe GPUs: `observe(nvml.environment, **order)`; they end with the test.

    They have imported Lightning where they are told so: `trains=True`. In a test that is marked as cold they are new
    interpreters.
    """
    with ExitStack() as stack:

        def observe(environment: Mapping[str, str], *, trains: bool = False, **order: object) -> Observing:
            server = None if is_cold else (warm_server if trains else light_server)()
            return stack.enter_context(observing(tmp_path, environment, server, **order))

        yield observe
