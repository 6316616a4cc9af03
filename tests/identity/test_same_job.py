"""Which starts of a script are for the same job, and which are not."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tracelet_otel._support.guard import Guard
from tracelet_otel._support.processes import started
from tracelet_otel.resource.attempts import Again, begun
from tracelet_otel.resource.same_job import SameJob, same_job
from tracelet_otel.settings import Settings, load

COMMAND = ("train.py", "--lr", "0.1")
SLURM = {"SLURM_JOB_ID": "77", "SLURM_CLUSTER_NAME": "juno", "SLURM_STEP_ID": "0"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0", "GROUP_WORLD_SIZE": "1"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "train-0-abcde"}
AGENT = "7 boot/1"


def job(environment: dict[str, str], command=COMMAND, key: str | None = None, parent: str = AGENT) -> SameJob:
    found = same_job(environment, key, command, parent)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("first", "again", "restarts"),
    [
        (SLURM, {**SLURM, "SLURM_RESTART_COUNT": "2", "SLURMD_NODENAME": "another"}, 2),
        (TORCHRUN, {**TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "1", "MASTER_PORT": "1"}, 1),
        ({**SLURM, **TORCHRUN},
         {**SLURM, **TORCHRUN, "SLURM_RESTART_COUNT": "1", "TORCHELASTIC_RESTART_COUNT": "2"}, 3),
        ({**POD, "K8S_JOB_UID": "u", "JOB_COMPLETION_INDEX": "3"},
         {**POD, "K8S_JOB_UID": "u", "JOB_COMPLETION_INDEX": "3", "HOSTNAME": "train-3-fghij"}, None),
        ({**POD, "POD_UID": "p"}, {**POD, "POD_UID": "p"}, None),
    ],
)  # fmt: skip
def test_what_is_started_again_is_the_same_job(first, again, restarts):
    assert job(first).run_id("p", 1) == job(again).run_id("p", 1)
    assert job(again).restarts == restarts
    assert job(again).goes_on_after(job(first).launch, job(first).agent)


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (SLURM, {**SLURM, "SLURM_JOB_ID": "78"}),
        (SLURM, {**SLURM, "SLURM_STEP_ID": "1"}),
        (SLURM, {**SLURM, "SLURM_CLUSTER_NAME": "jupiter"}),
        ({**SLURM, "SLURM_ARRAY_TASK_ID": "1"}, {**SLURM, "SLURM_JOB_ID": "78", "SLURM_ARRAY_TASK_ID": "2"}),
        ({**TORCHRUN, "TORCHELASTIC_RUN_ID": "a"}, {**TORCHRUN, "TORCHELASTIC_RUN_ID": "b"}),
        ({**POD, "K8S_JOB_UID": "u", "JOB_COMPLETION_INDEX": "3"},
         {**POD, "K8S_JOB_UID": "u", "JOB_COMPLETION_INDEX": "4"}),
        ({**POD, "K8S_JOB_UID": "u"}, {**POD, "K8S_JOB_UID": "v"}),
        ({**POD, "POD_UID": "p"}, {**POD, "POD_UID": "q"}),
    ],
)  # fmt: skip
def test_another_job_has_another_run(first, other):
    assert job(first).run_id("p", 1) != job(other).run_id("p", 1)


def test_one_job_may_have_several_runs():
    ids = [
        job(SLURM).run_id("p", 1),
        job(SLURM).run_id("p", 2),
        job(SLURM).run_id("q", 1),
        job(SLURM, ("train.py", "--lr", "0.2")).run_id("p", 1),
    ]
    assert len(set(ids)) == 4


def test_another_agent_of_torchrun_is_another_job_where_nobody_has_named_it():
    assert job(TORCHRUN).run_id("p", 1) != job(TORCHRUN, parent="8 boot/1").run_id("p", 1)
    assert same_job({**TORCHRUN, "GROUP_WORLD_SIZE": "2"}, None, COMMAND, AGENT) is None


def test_a_key_of_the_users_names_the_job_whatever_starts_it():
    assert job(SLURM, key="k").run_id("p", 1) == job({}, ("resume.py",), key="k").run_id("p", 1)
    assert job(SLURM, key="k").run_id("p", 1) != job(SLURM, key="l").run_id("p", 1)


@pytest.mark.parametrize("environment", [{}, POD, {**POD, "K8S_JOB_NAME": "train"}])
def test_nothing_is_guessed(environment):
    assert same_job(environment, None, COMMAND, AGENT) is None


def test_it_has_to_be_asked_for(monkeypatch):
    assert not load({}, None).goes_on
    assert load({}, {"resume": "auto"}).goes_on
    assert load({}, {"run_key": "k"}).goes_on
    monkeypatch.setenv("TRACELET_RUN_KEY", "k")
    assert load({}, None).goes_on
    assert not load({}, {"resume": "off"}).goes_on


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({}, {"resume": "auto", "journal_dir": tmp_path})


def attempt(settings: Settings, number: int = 1, **environment: str) -> Again | None:
    guard = Guard()
    found = begun(settings, environment, number, "a name", guard)
    assert not guard.counts
    return found


def leave(made: Again, **known: object) -> None:
    """What an attempt has left that is gone now."""
    made.keep(replace(made.attempt, pid=2**22 + 1, started="then", **known))


def test_attempts_are_counted_from_one(settings):
    first = attempt(settings, **SLURM)
    assert first is not None
    assert first.attributes == {"tracelet.run.attempt": 1}
    leave(first, step=70, trainings=1)
    second = attempt(settings, **SLURM, SLURM_RESTART_COUNT="1")
    assert second is not None
    assert (second.run_id, second.attempt.number, second.attempt.step) == (first.run_id, 2, 70)
    assert second.attempt.downtime_s == pytest.approx(second.attempt.seen_s - first.attempt.seen_s)
    leave(second)
    # The third one has left nothing, so it is not known what it had done.
    fourth = attempt(settings, **SLURM, SLURM_RESTART_COUNT="3")
    assert fourth is not None
    assert (fourth.attempt.number, fourth.attempt.step, fourth.attempt.lost_steps) == (4, None, None)
    assert fourth.attempt.downtime_s is None


def test_the_same_command_twice_in_one_launch_of_a_job_is_two_runs(settings, caplog):
    first = attempt(settings, **SLURM)
    assert first is not None
    leave(first)
    assert attempt(settings, **SLURM) is None
    assert "this job has run the same command before" in caplog.text


def test_who_still_runs_keeps_its_run(settings, caplog):
    first = attempt(settings, **SLURM)
    assert first is not None
    first.keep(replace(first.attempt, pid=os.getppid(), started=started(os.getppid())))
    assert attempt(settings, **SLURM, SLURM_RESTART_COUNT="1") is None
    assert "records the run of this job already" in caplog.text


def test_of_those_that_start_at_the_same_time_one_has_the_run(settings):
    named = settings.model_copy(update={"run_key": "k"})
    with ThreadPoolExecutor(8) as pool:
        for number in range(1, 21):
            begin = [pool.submit(attempt, named, number) for _ in range(8)]
            assert sum(one.result() is not None for one in begin) == 1
    assert not list(settings.journal_dir.glob("*.lock"))


def test_who_was_killed_at_its_start_has_been_an_attempt(settings):
    named = settings.model_copy(update={"run_key": "k"})
    first = attempt(named)
    assert first is not None
    first.path.write_text(first.path.read_text().replace(f'"pid": {os.getpid()}', '"pid": 4194305'))
    second = attempt(named)
    assert second is not None
    assert (second.attempt.number, second.attempt.lost_steps, second.attempt.run_name) == (2, 0, "a name")


def test_who_could_not_begin_has_been_none(settings):
    named = settings.model_copy(update={"run_key": "k"})
    first = attempt(named)
    assert first is not None
    first.withdraw()
    assert not first.path.exists()
    leave(first, step=70, trainings=1)
    second = attempt(named)
    assert second is not None
    second.withdraw()
    third = attempt(named)
    assert third is not None
    assert (third.attempt.number, third.attempt.step) == (2, 70)


def test_old_files_of_others_hinder_nobody(settings, monkeypatch):
    first = attempt(settings, **SLURM)
    assert first is not None
    leave(first, step=70)
    old = first.path.with_name("old.attempt")
    old.touch()
    os.utime(old, (0, 0))

    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(path)

    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda path, **more: (refuse if path == old else unlink)(path, **more))
    second = attempt(settings, **SLURM, SLURM_RESTART_COUNT="1")
    assert second is not None
    assert second.attempt.step == 70


def test_without_a_job_it_says_so(settings, caplog):
    assert attempt(settings) is None
    assert "name the job in TRACELET_RUN_KEY" in caplog.text


def test_what_a_recorded_script_starts_is_no_attempt(settings, monkeypatch, caplog):
    monkeypatch.setenv("TRACELET_RECORDER", "1")
    assert attempt(settings, **SLURM) is None
    assert caplog.text == ""


def test_trackers_may_know_of_attempts_elsewhere(settings):
    named = settings.model_copy(update={"run_key": "k"})
    made = attempt(named)
    assert made is not None
    assert made.attributes == {}, "nothing says that there was none before"
    assert made.told(None).attributes == {}
    assert made.told(0).attributes == {"tracelet.run.attempt": 1}
    assert made.told(2).attributes == {"tracelet.run.attempt": 3}
    assert (made.told(2).attempt.lost_steps, made.told(2).attempt.downtime_s) == (None, None)


def test_what_is_malformed_is_as_if_it_were_not_there(settings, tmp_path):
    first = attempt(settings, **SLURM)
    assert first is not None
    first.path.write_text('{"number": ')
    again = attempt(settings, **SLURM)
    assert again is not None
    assert again.attempt.number == 1


def test_old_ones_are_deleted(settings, tmp_path):
    old, other = tmp_path / "old.attempt", tmp_path / "other.attempt"
    for path in (old, other):
        path.touch()
    os.utime(old, (0, 0))
    attempt(settings, **SLURM)
    assert (old.exists(), other.exists()) == (False, True)
