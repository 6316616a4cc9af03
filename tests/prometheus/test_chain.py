"""What arrives in Prometheus through the shipped collector, under which names, and for how long it is shown."""

from __future__ import annotations

import re
import time

import pytest

from tests.prometheus.conftest import SCRIPTS
from tests.support import zero_code
from tests.support.shipped import SHIPPED
from tests.support.waiting import wait_until

DOCS = SHIPPED.parent / "docs" / "prometheus.md"
LOOKBACK_S = 300
"""Prometheus shows a series for so long after its last sample."""


@pytest.mark.slow
def test_names_and_labels(trained):
    of_run = f'{{tracelet_run_id="{trained.run}"}}'
    names = {
        labels["__name__"] for labels, _ in trained.prometheus.query(f"count by (__name__) ({of_run})", trained.alive)
    }
    assert names >= {
        "train_loss",
        "val_loss",
        "lr_sgd",
        "samples",
        "epoch",
        "tracelet_metric_nonfinite_total",
        "tracelet_hparam_ratio",
        "tracelet_run_tag_ratio",
        "tracelet_run_outcome_ratio",
        "tracelet_run_ended_ratio",
        "tracelet_rank_ended_ratio",
        "tracelet_trainer_global_step",
        "tracelet_trainer_epoch",
        "tracelet_world_size",
        "tracelet_recorder_queue_size",
        "tracelet_phase_time_seconds_total",
        "hw_gpu_utilization_ratio",
        "hw_gpu_memory_usage_bytes",
        "hw_gpu_memory_limit_bytes",
        "hw_gpu_memory_utilization_ratio",
        "hw_power_watts",
        "hw_energy_joules_total",
        "hw_temperature_celsius",
        "hw_fan_speed_ratio",
        "hw_errors_total",
        "hw_status",
        "tracelet_gpu_clock_frequency_hertz",
        "tracelet_gpu_throttle_ratio",
        "tracelet_gpu_pcie_throughput_bytes_per_second",
        "tracelet_gpu_process_memory_usage_bytes",
        "process_cpu_time_seconds_total",
        "process_memory_usage_bytes",
        "system_cpu_time_seconds_total",
        "system_memory_usage_bytes",
        "system_memory_utilization_ratio",
        "system_disk_io_bytes_total",
        "system_network_io_bytes_total",
        "target_info",
    }
    [first, second] = sorted(
        (labels for labels, _ in trained.prometheus.query("train_loss", trained.alive)),
        key=lambda labels: labels["tracelet_rank"],
    )
    both = first.items() & second.items()
    assert dict(both) == {
        "__name__": "train_loss",
        "job": "digits",
        "host_name": first["host_name"],
        "tracelet_run_id": trained.run,
        "tracelet_run_name": "two ranks",
        "tracelet_project_name": "digits",
        "tracelet_metric_name": "train/loss",
        "tracelet_reduction": "mean",
        "tracelet_stage": "fit",
    }
    own = {"tracelet_rank", "instance"}
    assert first.keys() - dict(both).keys() == second.keys() - dict(both).keys() == own
    assert [one["tracelet_rank"] for one in (first, second)] == ["0", "1"]
    # A number and a boolean among the resource's attributes are text.
    [about] = [
        labels
        for labels, _ in trained.prometheus.query('target_info{tracelet_rank="1"}', trained.alive)
        if labels["tracelet_run_id"] == trained.run
    ]
    assert (about["tracelet_local_rank"], about["instance"]) == ("1", second["instance"])
    assert about["process_pid"].isdigit()


@pytest.mark.slow
def test_each_value_that_is_not_finite_has_its_step(trained):
    found = trained.prometheus.get(
        "query_exemplars", query="tracelet_metric_nonfinite_total", start=trained.began, end=trained.ended
    )
    steps = {
        (one["seriesLabels"]["tracelet_rank"], exemplar["labels"]["tracelet.step"])
        for one in found
        for exemplar in one["exemplars"]
    }
    assert steps == {("0", "5"), ("1", "5")}


@pytest.mark.slow
def test_the_queries_of_the_documentation(trained):
    """Each block of PromQL there has a result of this run; what fails or ends is not in it."""
    blocks = re.findall(r"```promql\n(.+?)```", DOCS.read_text(), re.DOTALL)
    assert len(blocks) >= 8
    asked = [re.sub(r"^#.*\n", "", block, flags=re.MULTILINE).replace("RUN", trained.run) for block in blocks]
    assert [query for query in asked if not trained.prometheus.query(query, trained.alive)] == []


@pytest.mark.slow
def test_mean_and_best_value(trained):
    """As they are documented."""
    loss = f'tracelet_run_id="{trained.run}", tracelet_metric_name="val/loss"'
    ranks = [value for _, value in trained.prometheus.query(f"{{{loss}}}", trained.alive)]
    [(_, mean)] = trained.prometheus.query(f"avg by (tracelet_run_id) ({{{loss}}})", trained.alive)
    assert len(ranks) == 2
    assert mean == pytest.approx(sum(ranks) / 2)
    [(_, best)] = trained.prometheus.query(f"min(min_over_time({{{loss}}}[1h]))", trained.alive)
    everything = trained.prometheus.query_range(f"{{{loss}}}", trained.began, trained.alive, 1)
    assert best <= min(min(values) for _, values in everything)


@pytest.mark.slow
def test_utilization_joins_with_the_loss_of_its_run_and_host(trained):
    joined = trained.prometheus.query(
        'avg by (tracelet_run_id, host_name) (hw_gpu_utilization_ratio{hw_gpu_task="general"})'
        ' and on (tracelet_run_id, host_name) {tracelet_metric_name="train/loss"}',
        trained.alive,
    )
    [(labels, utilization)] = joined
    assert labels.keys() == {"tracelet_run_id", "host_name"}
    assert labels["tracelet_run_id"] == trained.run
    assert utilization == pytest.approx((0.40 + 0.41) / 2)


@pytest.mark.slow
def test_a_value_is_shown_as_long_as_the_run_lives_and_not_after(chain):
    """An hour is six seconds here: with a lookback of two, what was not sent again would be gone."""
    process = chain.start("hourly.py")
    value = 'val_loss{tracelet_run_name="hourly"}'
    chain.wait_for(value)
    logged = time.time()
    wait_until(lambda: time.time() - logged > 6, 30, "what is an hour here")
    assert [found for _, found in chain.prometheus.query(value, time.time(), "2s")] == [0.25]
    (chain.home / "seen").touch()
    assert process.wait(30) == 0, chain.said
    wait_until(
        lambda: chain.prometheus.query("tracelet_run_ended_ratio{tracelet_run_name='hourly'} == 1"), 30, "the end"
    )
    [(_, last)] = chain.prometheus.query(f"timestamp({value})")
    assert last - logged > 6
    for after, lookback in ((3, "2s"), (LOOKBACK_S + 1, None)):
        assert chain.prometheus.query(value, last + after - 2, lookback)
        assert not chain.prometheus.query(value, last + after, lookback)
        assert not chain.prometheus.query('{tracelet_run_name="hourly"}', last + after + 1, lookback)


@pytest.mark.slow
def test_zero_code_arrives_under_the_same_names(chain):
    told = {
        **zero_code.as_command(zero_code.variables("otlp")),
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "tracelet",
        "TRACELET_EXP_NAME": "zero",
    }
    process = chain.start(zero_code.INSTRUMENTED, SCRIPTS / "plain.py", **told)
    assert process.wait(60) == 0, chain.said
    chain.wait_for('plain_loss{tracelet_run_name="zero", tracelet_metric_name="plain/loss", tracelet_run_id!=""}')
    chain.wait_for('tracelet_trainer_global_step{tracelet_run_name="zero"} > 0')
    chain.wait_for('tracelet_run_outcome_ratio{tracelet_run_name="zero", outcome="finished", instance!=""}')
