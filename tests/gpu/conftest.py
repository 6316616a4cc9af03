from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.gpu import stand_in
from tests.gpu.observing import Observing, observing
from tests.gpu.stand_in import StandIn


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


@pytest.fixture
def observe(tmp_path: Path) -> Iterator[Callable[..., Observing]]:
    """Starts processes that observe GPUs: `observe(nvml.environment, **order)`; they end with the test."""
    with ExitStack() as stack:
        yield lambda environment, **order: stack.enter_context(observing(tmp_path, environment, **order))
