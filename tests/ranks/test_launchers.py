"""Each launcher gives one run with the values of both ranks, as Lightning hands them to loggers there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.ranks.witness import TRAINING, combined, witnessed
from tests.support.mlflow_store import StoredRun, multiset, stored_run, stored_runs
from tests.support.relays import relays
from tests.support.sidecar import TOKEN, Relay
from tests.support.waiting import free_port, wait_until

STEPS = 6

slow = pytest.mark.slow


def run_all(tmp_path: Path, commands: list[tuple[list[str], dict[str, str]]], timeout_s: float = 200) -> list[str]:
    """Run processes side by side; returns what each has printed on standard error."""
    children = [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=tmp_path,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command, environment in commands
    ]
    outputs = [child.communicate(timeout=timeout_s) for child in children]
    for child, (out, err) in zip(children, outputs, strict=True):
        assert child.returncode == 0, out + err
    return [err for _, err in outputs]


def slurm(rank: int) -> dict[str, str]:
    return {
        "SLURM_JOB_ID": f"{os.getpid()}",
        "SLURM_JOB_NAME": "training",
        "SLURM_STEP_ID": "0",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_PROCID": f"{rank}",
        "SLURM_LOCALID": f"{rank}",
        "SLURM_NODEID": "0",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_NODELIST": "localhost",
        "MASTER_PORT": f"{20000 + os.getpid() % 20000}",
    }


def commands(launcher: str) -> list[tuple[list[str], dict[str, str]]]:
    arguments = [str(TRAINING), "ddp" if launcher in ("torchrun", "slurm") else launcher, str(STEPS)]
    if launcher == "torchrun":
        port = ["--nproc_per_node", "2", "--master_port", str(free_port())]
        return [(["-m", "torch.distributed.run", *port, *arguments], {})]
    if launcher == "slurm":
        return [(arguments, slurm(rank)) for rank in range(2)]
    return [(arguments, {})]


def expected(tmp_path: Path) -> Counter:
    """What the run has to have: the k-th value of a name and step on one rank belongs to the k-th on the other."""
    found: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    for rank in range(2):
        seen: Counter[tuple[str, int]] = Counter()
        for name, step, value, _ in witnessed(tmp_path, rank):
            found[name, step, seen[name, step]].append(value)
            seen[name, step] += 1
    return multiset((name, step, combined(name, values)) for (name, step, _), values in found.items())


def nodes(**more: str) -> list[tuple[list[str], dict[str, str]]]:
    """Two nodes with one rank each, as torchrun starts them."""
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "1",
        "TORCHELASTIC_RUN_ID": "none",
        "LOCAL_RANK": "0",
        "DEVICES": "1",
        "NODES": "2",
        **more,
    }
    arguments = [str(TRAINING), "ddp", str(STEPS)]
    return [(arguments, {**common, "RANK": f"{rank}", "GROUP_RANK": f"{rank}"}) for rank in range(2)]


def value(run: StoredRun, name: str, step: int) -> float:
    (found,) = [value for key, at, value, _ in run.points if (key, at) == (name, step)]
    return found


@pytest.mark.parametrize(
    "launcher",
    ["ddp", "ddp_fork", *(pytest.param(one, marks=slow) for one in ("ddp_spawn", "torchrun", "slurm"))],
)
def test_one_run_with_the_values_of_both_ranks(tmp_path, database, launcher):
    run_all(tmp_path, commands(launcher))
    run = stored_run(database)
    assert run.status == "FINISHED"
    assert run.multiset == expected(tmp_path)
    # As the issue of ranks has it: 0 and 10 in the first batch.
    names = ["mean_step", "mean/sync_step", "sum_step", "sum/sync_step", "min_step", "max_step", "zero", "only1"]
    assert [value(run, name, 0) for name in names] == [5, 5, 10, 10, 0, 10, 0, 7]
    # Over batches of unequal size ours is the mean of the ranks' means, Lightning's counts each sample.
    weighted, synced = value(run, "weighted", STEPS - 1), value(run, "weighted/sync", STEPS - 1)
    assert (weighted, synced) == (value(run, "mean_epoch", STEPS - 1), pytest.approx(weighted - 3))
    assert "only0" in {name for name, *_ in run.points}
    processes = [json.loads((tmp_path / f"process.{rank}").read_text()) for rank in range(2)]
    assert [process["place"] for process in processes] == [
        {"tracelet.rank": rank, "tracelet.local_rank": rank, "tracelet.node_rank": 0} for rank in range(2)
    ]
    # Where all ranks are children of the script's process, that is none, and owns the run.
    assert [process["owns"] for process in processes] == [launcher not in ("ddp_fork", "ddp_spawn"), False]
    assert relays(tmp_path) == []
    assert list((tmp_path / "journals").iterdir()) == []


@pytest.mark.parametrize("launcher", [pytest.param("ddp_spawn", marks=slow)])
def test_each_rank_has_its_series(tmp_path, database, launcher):
    config = {"CONFIG": json.dumps({"ranks": "each"})}
    run_all(tmp_path, [(command, {**environment, **config}) for command, environment in commands(launcher)])
    run = stored_run(database)
    assert run.multiset == multiset(
        (f"{name}/rank_{rank}", step, value) for rank in range(2) for name, step, value, _ in witnessed(tmp_path, rank)
    )


@pytest.mark.slow
def test_what_a_forked_rank_logs_through_its_parents_run(tmp_path, database):
    run_all(tmp_path, [(command, {**environment, "FORKED": "1"}) for command, environment in commands("ddp_fork")])
    assert value(stored_run(database), "by hand", 3) == 1.5


@pytest.mark.slow
def test_a_rank_on_another_node_says_so_once_and_trains_on(tmp_path, database):
    first_rank, (second_command, environment) = nodes()
    errors = ["nothing of rank 1 on node 1 is recorded", "values of rank 1 on node 1 were not delivered"]
    second_rank = second_command, {**environment, "ERRORS": json.dumps(errors)}
    first, second = run_all(tmp_path, [first_rank, second_rank])
    said = [line for line in second.splitlines() if "TRACELET_RELAY_ENDPOINT" in line]
    assert len(said) == 1
    assert said[0].startswith("nothing of rank 1 on node 1 is recorded: it is on another node than rank 0")
    assert "TRACELET_RELAY_ENDPOINT" not in first
    # It trained all the same, and the run is that of rank 0.
    assert len(witnessed(tmp_path, 1)) == len(witnessed(tmp_path, 0))
    assert stored_run(database).multiset == multiset(row[:3] for row in witnessed(tmp_path, 0))


@pytest.mark.slow
@pytest.mark.parametrize("same_node", [False, True], ids=["two nodes", "one node"])
def test_ranks_join_a_relay_that_runs_already(tmp_path, database, same_node):
    relay = Relay(database, tmp_path)
    relay.start()
    try:
        joining = {"TRACELET_RELAY_TOKEN": TOKEN, "TRACELET_RELAY_ENDPOINT": f"http://127.0.0.1:{relay.port}"}
        if same_node:
            # The run is told from rank to rank.
            run_all(tmp_path, [(command, {**environment, **joining}) for command, environment in commands("ddp")])
        else:
            run_all(tmp_path, nodes(TRACELET_RUN_ID="of-two-nodes", **joining))
        wait_until(lambda: stored_run(database).status == "FINISHED", 30, "the run's end")
    finally:
        relay.end()
    assert stored_run(database).multiset == expected(tmp_path)


SCRIPT = """
import os, sys, warnings
warnings.simplefilter("ignore")
import torch
import lightning.pytorch as pl
import tracelet_otel as tracelet

class Base(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)

def trainer(**options):
    return pl.Trainer(
        accelerator="cpu", max_steps=2, log_every_n_steps=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, **options
    )

data = torch.utils.data.DataLoader(torch.randn(8, 4), batch_size=2)
"""

SEVERAL = f"""{SCRIPT}
class Module(Base):
    def training_step(self, batch, batch_idx):
        self.log("rank", float(self.trainer.global_rank) + 1)
        return self.layer(batch).mean()
    def test_step(self, batch, batch_idx):
        self.log("test", 1.0)

with tracelet.start_logging("alone") as run:
    run.log_metric("by hand", 1, 0)
    trainer(devices=1).fit(Module(), data)
run = tracelet.start_logging("both")
run.log_metric("before", 1 + int(os.environ.get("LOCAL_RANK", 0)), 0)
if "LOCAL_RANK" not in os.environ:  # as where a checkpoint is not there yet
    trainer(devices=1).fit(Module(), data)
trainer(devices=2, strategy="ddp").fit(Module(), data)
run.log_metric("after", 1 + int(os.environ["LOCAL_RANK"]), 0)
if os.environ["LOCAL_RANK"] == "0":
    trainer(devices=1).test(Module(), data, verbose=False)
run = tracelet.start_logging("again")
run.log_metric("between", 1 + int(os.environ["LOCAL_RANK"]), 0)
trainer(devices=2, strategy="ddp").fit(Module(), data)
run.stop()
assert not run.errors, run.errors
"""


@pytest.mark.slow
def test_what_rank_0_does_before_it_starts_others_and_alone_is_there_once(tmp_path, database, python):
    done = python(SEVERAL)
    assert done.returncode == 0, done.stderr
    alone, both, again = stored_runs(database)
    assert [run.name for run in (alone, both, again)] == ["alone", "both", "again"]
    epochs = [("epoch", 0, 0.0), ("epoch", 1, 0.0)]
    once = [("rank", 0, 1.0), ("rank", 1, 1.0), *epochs]
    merged = [("rank", 0, 1.5), ("rank", 1, 1.5), *epochs]
    assert alone.multiset == multiset([*once, ("by hand", 0, 1.0)])
    test = [("test", 0, 1.0), ("epoch", 0, 0.0)]
    assert both.multiset == multiset([*once, *merged, ("before", 0, 1.0), ("after", 0, 1.5), *test])
    assert again.multiset == multiset([*merged, ("between", 0, 1.5)])
    assert {run.status for run in (alone, both, again)} == {"FINISHED"}


TWICE = f"""{SCRIPT}
class Module(Base):
    def training_step(self, batch, batch_idx):
        self.log("train", 10.0 * self.global_rank)
        return self.layer(batch).mean()
    def test_step(self, batch, batch_idx):
        self.log("test", 10.0 * self.global_rank)

if __name__ == "__main__":
    with tracelet.start_logging("twice") as run:
        of_two = trainer(devices=2, strategy=sys.argv[1])
        of_two.fit(Module(), data)
        of_two.test(Module(), data, verbose=False)
    assert not run.errors, run.errors
"""


@pytest.mark.parametrize("launcher", ["ddp_fork", pytest.param("ddp_spawn", marks=slow)])
def test_each_training_has_processes_of_its_own(tmp_path, database, python, launcher):
    done = python(TWICE, launcher)
    assert done.returncode == 0, done.stderr
    values = [(name, value) for name, _, value, _ in stored_run(database).points if name != "epoch"]
    assert sorted(values) == [("test", 5.0), ("train", 5.0), ("train", 5.0)]


SHORT = """
import os
import tracelet_otel as tracelet
with tracelet.start_logging("short") as run:
    run.log_metric("rank", 1 + int(os.environ["RANK"]), 0)
assert not run.errors, run.errors
"""


def test_a_rank_that_is_done_before_the_relay_listens(tmp_path, database):
    (tmp_path / "short.py").write_text(SHORT)
    environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    run_all(
        tmp_path,
        [(["short.py"], {**environment, "RANK": f"{rank}", "LOCAL_RANK": f"{rank}"}) for rank in range(2)],
    )
    assert stored_run(database).multiset == multiset([("rank", 0, 1.5)])


COPIED = """
import multiprocessing, os, sys
import tracelet_otel as tracelet
run = tracelet.start_logging("top", config={"export_interval": 0.2})

def work(found, own):
    run.log_metric("lost", 1, 0)
    inherited = (run.id, tracelet.get_active_run() is run)
    if own:
        with tracelet.start_logging("own") as mine:
            mine.log_metric("kept", 1, 0)
    found.put(inherited)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    found = context.SimpleQueue()
    for own in (False, True):
        child = context.Process(target=work, args=(found, own))
        child.start()
        child.join()
        assert child.exitcode == 0
        print(found.get())
    run.log_metric("mine", 1, 0)
"""


@slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_copy_of_the_script_starts_nothing_at_its_top(tmp_path, database, python, method):
    done = python(COPIED, method)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "('', True)\n" * 2
    top, own = stored_runs(database)
    assert top.multiset == multiset([("mine", 0, 1.0)])
    # What a child asks for in so many words it gets.
    assert (own.name, own.multiset) == ("own", multiset([("kept", 0, 1.0)]))
