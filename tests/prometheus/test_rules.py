"""When alerts fire and when they clear, by minutes, in Prometheus' own unit tests of rules."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field

import pytest
import yaml

from tests.prometheus.stack import RULES
from tests.support.collector import tool

ALERTS = {
    rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"] if "alert" in rule
}
PER_MINUTE = 4
RUN = (
    'tracelet_run_id="r1", tracelet_run_name="one", tracelet_project_name="p", host_name="h", '
    'instance="i{rank}", tracelet_rank="{rank}"'
)


@dataclass(frozen=True)
class Case:
    """Series by name and labels, in stretches of minutes, and what fires at which minute."""

    series: dict[str, list[tuple[float, object]]]
    fires: dict[float, str | None]
    ranks: int = 1
    own: dict[str, dict[int, list[tuple[float, object]]]] = field(default_factory=dict)
    """What ranks have each for itself."""


def stretches(parts):
    """`(3, 1)`: for three minutes 1; `(3, "2+5")`: from 2 on, 5 more at each export; None: nothing."""
    written = []
    for minutes, value in parts:
        count = round(minutes * PER_MINUTE)
        if value is None:
            written.append(f"_x{count}")
        elif isinstance(value, str):
            written.append(f"{value}x{count - 1}")
        else:
            written.append(f"{value}+0x{count - 1}")
    return " ".join(written)


OUTCOME = 'tracelet_run_outcome_ratio{outcome="%s"}'
RUNNING, FINISHED, FAILED = (OUTCOME % outcome for outcome in ("running", "finished", "failed"))
ENDED = "tracelet_run_ended_ratio{}"
STEP = "tracelet_trainer_global_step{}"
LOSS = 'tracelet_metric_nonfinite_total{tracelet_metric_name="val/Loss", tracelet_nonfinite_kind="NaN"}'
BUSY = 'hw_gpu_utilization_ratio{hw_gpu_task="general", tracelet_gpu_index="0"}'
MEMORY = 'hw_gpu_memory_utilization_ratio{tracelet_gpu_index="0"}'
AWAY = 'tracelet_relay_requests_total{http_response_status_code="503"}'
LAG = 'tracelet_relay_delivery_lag_seconds{tracelet_tracker="mlflow"}'
PHASE = 'tracelet_phase_time_seconds_total{tracelet_phase="%s", tracelet_stage="%s"}'
STEP_SUM, STEP_COUNT = (f"tracelet_step_duration_seconds_{what}{{}}" for what in ("sum", "count"))
STEPS = [(20, "0+10")]
LAST = (0.25, 1)

CASES = {
    "a run that is well and ends": Case(
        {
            RUNNING: [(20, 1)],
            FINISHED: [(20, None), LAST],
            ENDED: [(20, 0), LAST],
            STEP: STEPS,
            BUSY: [(20, 0.9)],
            MEMORY: [(20, 0.9)],
        },
        dict.fromkeys([*range(1, 40), 60, 90]),
    ),
    "one that never said that it ended": Case(
        {RUNNING: [(20, 1)], FINISHED: [(20, None), LAST], STEP: STEPS}, dict.fromkeys(range(1, 60))
    ),
    "NaN once": Case(
        {RUNNING: [(30, 1)], STEP: [(30, "0+10")], LOSS: [(10, None), (20, 1)]},
        {9.9: None, 10.25: "TraceletLossNotFinite", 14.9: "TraceletLossNotFinite", 15.5: None, 29: None},
    ),
    "NaN of another metric": Case(
        {RUNNING: [(30, 1)], STEP: [(30, "0+10")], LOSS.replace("val/Loss", "accuracy"): [(10, None), (20, 1)]},
        dict.fromkeys(range(30)),
    ),
    "NaN again and again, until the run ends": Case(
        {
            RUNNING: [(20, 1)],
            FINISHED: [(20, None), LAST],
            ENDED: [(20, 0), LAST],
            STEP: STEPS,
            LOSS: [(10, None), (10, "1+1")],
        },
        {10.25: "TraceletLossNotFinite", 19.9: "TraceletLossNotFinite", 20.5: None, 21: None, 30: None},
    ),
    "a training that hangs, and goes on": Case(
        {RUNNING: [(40, 1)], STEP: [(5, "0+10"), (20, 190), (15, "200+10")]},
        {14: None, 15.5: "TraceletTrainingHung", 24.9: "TraceletTrainingHung", 25.5: None, 39: None},
    ),
    "one that hangs, and is ended": Case(
        {
            RUNNING: [(20, 1)],
            FINISHED: [(20, None), LAST],
            ENDED: [(20, 0), LAST],
            STEP: [(5, "0+10"), (15, 190)],
        },
        {19.9: "TraceletTrainingHung", 20.5: None, 22: None},
    ),
    "a script that does something else after a fit": Case(
        {RUNNING: [(5, 1)], FINISHED: [(5, None), (40, 1)], STEP: [(5, "0+10"), (40, 190)], BUSY: [(45, 0)]},
        dict.fromkeys(range(1, 45)),
    ),
    "the next fit begins at step 0": Case(
        {RUNNING: [(40, 1)], STEP: [(20, "0+10"), (20, "0+10")]}, dict.fromkeys(range(1, 40)), ranks=2
    ),
    "a rank that lags, and catches up": Case(
        {RUNNING: [(30, 1)]},
        {9: None, 14: "TraceletRankLags", 19.9: "TraceletRankLags", 21: None, 29: None},
        ranks=2,
        own={STEP: {0: [(30, "0+10")], 1: [(10, "0+10"), (10, "400+1"), (10, "800+10")]}},
    ),
    "ranks that export at different moments": Case(
        {RUNNING: [(30, 1)]},
        dict.fromkeys(range(1, 30)),
        ranks=2,
        own={STEP: {0: [(30, "0+1000")], 1: [(0.5, 0), (29.5, "0+1000")]}},
    ),
    "a training that waits for its data, and then does not": Case(
        {
            RUNNING: [(60, 1)],
            STEP: [(60, "0+10")],
            PHASE % ("data_wait", "fit"): [(10, "0+1"), (30, "40+6"), (20, "760+1")],
            PHASE % ("forward", "fit"): [(60, "0+10")],
        },
        {9: None, 20: None, 23: "TraceletInputBound", 39.9: "TraceletInputBound", 45: None, 59: None},
    ),
    "a prediction that waits for its data": Case(
        {
            RUNNING: [(60, 1)],
            PHASE % ("data_wait", "predict"): [(60, "0+9")],
            PHASE % ("forward", "predict"): [(60, "0+1")],
        },
        dict.fromkeys(range(1, 60)),
    ),
    "steps that become slower, and faster again": Case(
        {
            RUNNING: [(90, 1)],
            STEP: [(90, "0+15")],
            STEP_COUNT: [(90, "0+15")],
            STEP_SUM: [(30, "0+3"), (40, "360+7.5"), (20, "1560+3")],
        },
        {29: None, 40: None, 43: "TraceletStepsSlower", 69.9: "TraceletStepsSlower", 76: None, 89: None},
        ranks=2,
    ),
    "steps that take longer for a moment": Case(
        {
            RUNNING: [(60, 1)],
            STEP: [(60, "0+15")],
            STEP_COUNT: [(60, "0+15")],
            STEP_SUM: [(30, "0+3"), (5, "360+9"), (25, "540+3")],
        },
        dict.fromkeys(range(1, 60)),
    ),
    "a GPU that is idle, and works": Case(
        {RUNNING: [(40, 1)], STEP: [(40, "0+1")], BUSY: [(5, 0.9), (25, 0.01), (10, 0.9)]},
        {19: None, 20.75: "TraceletGpuIdle", 29.9: "TraceletGpuIdle", 30.5: None},
    ),
    "a GPU that is idle until the run ends": Case(
        {
            RUNNING: [(20, 1)],
            FINISHED: [(20, None), LAST],
            ENDED: [(20, 0), LAST],
            STEP: STEPS,
            BUSY: [(20, 0.01)],
        },
        {19.9: "TraceletGpuIdle", 20.5: None, 25: None},
    ),
    "a GPU that is idle before there is a trainer": Case(
        {RUNNING: [(40, 1)], BUSY: [(40, 0)]}, dict.fromkeys(range(1, 40))
    ),
    "a GPU's memory, and the run's end": Case(
        {
            RUNNING: [(20, 1)],
            FINISHED: [(20, None), LAST],
            ENDED: [(20, 0), LAST],
            STEP: STEPS,
            MEMORY: [(5, 0.5), (5, 0.97), (5, 0.5), (5, 0.97)],
        },
        {
            5.5: None,
            6.5: "TraceletGpuMemoryHigh",
            9.9: "TraceletGpuMemoryHigh",
            10.5: None,
            19.9: "TraceletGpuMemoryHigh",
            20.5: None,
        },
    ),
    "a rank that never says how it ended": Case(
        {RUNNING: [(20, 1)], STEP: STEPS, MEMORY: [(20, 0.97)]},
        {19.9: "TraceletGpuMemoryHigh", 20.5: None, 21: None, 30: None},
        ranks=2,
        own={FINISHED: {0: [(20, None), LAST], 1: [(20, None)]}, ENDED: {0: [(20, None), LAST], 1: [(20, None)]}},
    ),
    "a run that fails": Case(
        {RUNNING: [(10, 1)], FAILED: [(10, None), LAST], ENDED: [(10, 0), LAST], STEP: [(10, "0+10")]},
        {9.9: None, 11: "TraceletRunFailed", 14.9: "TraceletRunFailed", 15.5: None, 40: None},
    ),
    "a failure that the script caught": Case(
        {
            RUNNING: [(10, 1), (0.25, None), (10, 1)],
            FAILED: [(10, None), LAST],
            STEP: [(10, "0+10"), (10.25, "0+10")],
        },
        dict.fromkeys(range(1, 20)),
    ),
    "a run that is killed, and its traces go": Case(
        {RUNNING: [(10, 1)], STEP: [(10, "0+10")]},
        {14.5: None, 15.5: "TraceletRunLost", 39: "TraceletRunLost", 40.5: None},
    ),
    "a relay that turns requests away for a moment": Case(
        {AWAY: [(10, 0), (20, 3)], AWAY.replace("503", "200"): [(30, "0+5")]},
        {9.9: None, 10.5: "TraceletRelayBehind", 14.5: "TraceletRelayBehind", 15.5: None, 29: None},
    ),
    "a tracker that is away": Case(
        {LAG: [(5, 0), (4, 290), (6, "310+15"), (15, 0)]},
        {9.75: None, 10.5: "TraceletTrackerLags", 14.9: "TraceletTrackerLags", 15.5: None, 29: None},
    ),
    **{
        f"a relay that counts: {what}": Case(
            {f"tracelet_relay_{what}_total{{}}": [(10, 0), (20, 1)]},
            {9.9: None, 10.5: "TraceletRelayLosesValues", 14.5: "TraceletRelayLosesValues", 15.5: None, 29: None},
        )
        for what in ("delivery_dropped", "merge_late", "merge_incomplete")
    },
    "a run of which nothing came for a while": Case(
        {RUNNING: [(10, 1), (10, None), (20, 1)], STEP: [(10, "0+10"), (10, None), (20, "900+10")]},
        {16: "TraceletRunLost", 20.5: None, 39: None},
    ),
}


def unit_test(case):
    series = []
    for rank in range(case.ranks):
        common = RUN.format(rank=rank)
        every = {**case.series, **{name: values[rank] for name, values in case.own.items()}}
        for name, parts in every.items():
            labels = ", ".join(filter(None, [name.partition("{")[2].rstrip("}"), common]))
            series.append({"series": f"{name.partition('{')[0]}{{{labels}}}", "values": stretches(parts)})
    checks = [
        {
            "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
            "eval_time": f"{round(minute * 60)}s",
            "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if alert else [],
        }
        for minute, alert in case.fires.items()
    ]
    return {"interval": "15s", "input_series": series, "promql_expr_test": checks}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_only_what_is_expected_fires_at_each_minute(tmp_path, case):
    file = tmp_path / "test.json"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": [unit_test(case)]}))
    checked = subprocess.run(
        [tool("promtool"), "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_alert_is_seen_to_fire_and_to_clear():
    fired, cleared = set(), set()
    for case in CASES.values():
        firing = None
        for _, alert in sorted(case.fires.items()):
            if firing and alert is None:
                cleared.add(firing)
            firing = alert
            fired |= {alert} - {None}
    assert fired == cleared == ALERTS
