"""The same places as of the facade, in a script that has never heard of us."""

from __future__ import annotations

from tests.integration.test_failing_places import check, places
from tests.support import failing
from tests.support.mlflow_store import stored_run, stored_runs
from tests.support.waiting import wait_until

AS_ONE = frozenset(
    {
        "module: configure_model",
        "module: train_dataloader",
        "module: validation_step",
        "module: on_fit_end",
        "module: teardown",
        "callback: setup",
        "callback: on_fit_start",
        "callback: on_sanity_check_start",
        "callback: on_train_start",
        "callback: on_fit_end",
        "callback: teardown",
    }
)
"""Places within `fit`, for which others are tested: under zero code only the run's start and end differ."""
STANDS_FOR_OTHERS = {"module: prepare_data", "module: training_step", "after fit", "module: training_step, kill -9"}


@places(sudden=False, at_once=STANDS_FOR_OTHERS, without=AS_ONE)
def test_a_script_that_fails(instrumented, database, place):
    child = instrumented(failing.__file__, "mlflow", PLACE=place)
    assert child.returncode == failing.ENDINGS[place].code, child.stderr
    if place == "Trainer":
        # No training has begun, so there is no run.
        assert stored_runs(database) == []
    elif place == "after fit, sys.exit(3)":
        # The training went well, and Python keeps no exception of it. `with start_logging()` sees it.
        assert stored_run(database).status == "FINISHED"
    else:
        check(place, database)


@places(sudden=True, at_once=STANDS_FOR_OTHERS)
def test_a_script_that_ends_suddenly(instrumented, database, place):
    child = instrumented(failing.__file__, "mlflow", PLACE=place)
    assert child.returncode == failing.ENDINGS[place].code, child.stderr
    wait_until(lambda: stored_run(database).status != "RUNNING", 60, "the end of the run")
    check(place, database)
