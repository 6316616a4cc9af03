"""A script that has never heard of us is killed, and started again for the same job."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

from tests.again.left import last_attempt
from tests.support.mlflow_store import stored_run

SCRIPT = str(Path(__file__).parents[1] / "again" / "scripts" / "attempt.py")
JOB = {"TRACELET_RESUME": "auto", "SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0"}
DETECTED = {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "tracelet"}


def test_a_job_that_slurm_has_put_back_into_the_queue_goes_on_with_its_run(tmp_path, instrumented, database):
    child = instrumented(SCRIPT, "mlflow", ATTEMPT="1", **JOB, **DETECTED)
    assert child.returncode == -signal.SIGKILL, child.stderr
    child = instrumented(SCRIPT, "mlflow", ATTEMPT="2", **JOB, **DETECTED, SLURM_RESTART_COUNT="1")
    assert child.returncode == 0, child.stderr
    found = stored_run(database)
    assert found.status == "FINISHED"
    steps = Counter(step for name, step, _, _ in found.points if name == "loss")
    assert steps == {step: 2 if 50 <= step < 70 else 1 for step in range(100)}
    assert found.tags["tracelet.run.attempt"] == "2"
    assert last_attempt(tmp_path).lost_steps == 20
