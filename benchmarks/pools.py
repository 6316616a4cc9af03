"""How much longer a pool of workers takes that train, where each training is recorded as a run of its own.

    python -m benchmarks.pools

Eight forked workers train a model each: with no logger, with an `MLFlowLogger` in each worker, and below a run of ours.
MLflow is on SQLite, on the same machine. Trainings are short and longer, since what a run costs is the same for both.
And there are some whose steps wait, as for a device: their workers leave processors to others, which the rest do
not. Interleaved repetitions, each in a process of its own. The time is that of the pool's `map`, without imports and
the start of the script's run.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.child import figures
from benchmarks.options import run
from benchmarks.report import show
from benchmarks.results import Results, spread
from benchmarks.servers import mlflow_database

WITHOUT, THEIRS, OURS = "no logger", "MLFlowLogger", "ours: each training is a run"

SCRIPT = """
import json, multiprocessing, os, sys, time
order = json.loads(sys.argv[1])
os.chdir(order["home"])
import lightning.pytorch as pl
import torch
from tests.support.quiet import quiet_trainer

STORE = "sqlite:///mlflow.db"

class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.ReLU(), torch.nn.Linear(512, 1))

    def training_step(self, batch, batch_idx):
        time.sleep(order["wait_s"])
        loss = self.layers(batch).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)

def train(number):
    torch.set_num_threads(1)
    data = torch.utils.data.DataLoader(torch.randn(order["steps"] * 64, 256), batch_size=64)
    logger = pl.loggers.MLFlowLogger("bench", tracking_uri=STORE) if order["case"] == "MLFlowLogger" else False
    trainer = quiet_trainer(pl, max_epochs=1, log_every_n_steps=50, logger=logger)
    began_s = time.perf_counter()
    trainer.fit(Net(), data)
    return time.perf_counter() - began_s

def pool():
    with multiprocessing.get_context("fork").Pool(order["workers"]) as workers:
        workers.map(int, range(order["workers"]))
        began_s = time.perf_counter()
        took = workers.map(train, range(order["workers"]), chunksize=1)
        return time.perf_counter() - began_s, sum(took) / len(took)

if order["case"] == "MLFlowLogger":
    import mlflow
    # Loggers that make the experiment at the same time fail, and a connection to a database is not to be forked.
    making = lambda: mlflow.MlflowClient(STORE).create_experiment("bench")
    maker = multiprocessing.get_context("fork").Process(target=making)
    maker.start()
    maker.join()
if order["case"].startswith("ours"):
    import tracelet_otel as tracelet
    with tracelet.start_logging("bench", backend_url=STORE):
        took_s, fit_s = pool()
else:
    took_s, fit_s = pool()
print("\\n" + json.dumps({"pool_s": took_s, "fit_s": fit_s}), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a training."""

    number: int
    wait_s: float = 0.0
    """How long each waits, in seconds."""

    def __str__(self) -> str:
        waiting = f" that wait {self.wait_s * 1e3:.0f} ms each" if self.wait_s else ""
        return f"{self.number:,} steps{waiting}"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is trained."""

    repetitions: int = 2
    workers: int = 8
    steps: tuple[Steps, ...] = (Steps(300), Steps(4000), Steps(1000, 0.03))


def seconds(case: str, workers: int, steps: Steps, database: Path) -> dict[str, float]:
    """What the pool took, and the mean of its trainings, in seconds."""
    with tempfile.TemporaryDirectory() as home:
        shutil.copy(database, f"{home}/mlflow.db")
        order = {"case": case, "workers": workers, "steps": steps.number, "wait_s": steps.wait_s}
        return figures(["-c", SCRIPT], order, home)


def main(size: Size, results: Results) -> None:
    """Run it, print the table, and leave figures and a plot."""
    found: dict[Steps, dict[str, dict[str, list[float]]]] = {
        steps: {case: {} for case in (WITHOUT, THEIRS, OURS)} for steps in size.steps
    }
    with tempfile.TemporaryDirectory() as home:
        database = mlflow_database(Path(home))
        for _ in range(size.repetitions):
            for steps, cases in found.items():
                for case, of_case in cases.items():
                    for name, took_s in seconds(case, size.workers, steps, database).items():
                        of_case.setdefault(name, []).append(took_s)
    measured = {
        str(steps): {case: {name: spread(took) for name, took in of_case.items()} for case, of_case in cases.items()}
        for steps, cases in found.items()
    }
    plotted = {
        f"{case}, {steps}": of_case["pool_s"]["median"]
        for steps, cases in measured.items()
        for case, of_case in cases.items()
    }
    results.bars("pools", "Trainings in a pool", "seconds", plotted)
    results.write("pools", {"repetitions": size.repetitions, "workers": size.workers, "results": measured})
    show(results, "pools")


if __name__ == "__main__":
    run(main, Size(), smallest=Size(repetitions=1, workers=2, steps=(Steps(20, 0.001),)))
