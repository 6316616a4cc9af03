"""A training that the agent of a sweep of W&B has started."""

from __future__ import annotations

import uuid
from dataclasses import replace

from tests.support.wandb_files import offline_files, offline_run
from tracelet_otel import semconv
from tracelet_otel.protocol.decode import Param


def test_its_run_is_that_of_the_sweep_and_runs_below_it_are_their_own(offline, identity, monkeypatch, tmp_path):
    chosen = tmp_path / "config.yaml"
    chosen.write_text("wandb_version: 1\nrate:\n  value: 0.05\n")
    # As the agent leaves them for each script that it starts.
    variables = {
        "WANDB_RUN_ID": "of-sweep",
        "WANDB_SWEEP_ID": "sweep",
        "WANDB_SWEEP_PARAM_PATH": str(chosen),
        "WANDB_PROJECT": "of the sweep",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    below = {semconv.PARENT_RUN_ID: identity.run_id, semconv.PARENT_RUN_NAME: identity.run_name}
    child = replace(identity, run_id=uuid.uuid4().hex, run_name="child", attributes={**identity.attributes, **below})
    of_sweep = offline.tracker()
    of_sweep.open(identity)
    of_sweep.log_params({"width": Param(64, "int")})
    # As a relay has them for runs of other processes.
    monkeypatch.delenv("WANDB_RUN_ID")
    of_child = offline.tracker()
    of_child.open(child)
    for tracker in (of_sweep, of_child):
        tracker.close(semconv.OUTCOME_FINISHED)
    (first,), (second,) = (
        [offline_run(path) for path in offline_files(tmp_path / "wandb", run_id) if not path.parent.is_symlink()]
        for run_id in ("of-sweep", child.run_id)
    )
    assert (first.sweep, first.project, first.config["rate"], first.config["width"]) == (
        "sweep",
        "of the sweep",
        0.05,
        64,
    )
    assert (second.sweep, second.project, second.name, second.group) == ("", "of the sweep", "child", identity.run_name)
    assert "rate" not in second.config
