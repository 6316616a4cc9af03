"""What every tracker has to do, on the real ones."""

from __future__ import annotations

import pytest

from tests.contract.backends import PLACES, WandbOffline
from tracelet_otel import semconv
from tracelet_otel.testing import FileContract, TrackerContract

SLOW = ("MLflow server", "W&B server")
"""Places that the same client of ours reaches as those beside them."""


def places(tracker):
    found = [pytest.param(one, marks=pytest.mark.slow if one in SLOW else ()) for one in PLACES[tracker]]
    return pytest.mark.parametrize("backend", found, indirect=True)


@places("mlflow")
class TestMlflow(TrackerContract):
    pass


@places("mlflow")
class TestFilesOfMlflow(FileContract):
    pass


@places("wandb")
class TestWandb(TrackerContract):
    def test_a_run_that_does_not_exist_cannot_be_continued(self, backend, identity):
        if not isinstance(backend, WandbOffline):
            super().test_a_run_that_does_not_exist_cannot_be_continued(backend, identity)
            return
        # Offline, it does not know which runs there are.
        tracker = backend.tracker(run_id="nowhere")
        tracker.open(identity)
        tracker.close(semconv.OUTCOME_FINISHED)
        assert backend.stored("nowhere").name == "name of the run"


@places("wandb")
class TestFilesOfWandb(FileContract):
    pass


@places("clearml")
class TestClearml(TrackerContract):
    pass


@places("clearml")
class TestFilesOfClearml(FileContract):
    pass
