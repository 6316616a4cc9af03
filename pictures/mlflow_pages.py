"""What MLflow's own pages show of a few runs, from its server on SQLite."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.servers import mlflow_server

from pictures import trainings
from pictures.browser import Shot, take
from pictures.kept import keep_png

RUNS = {
    "cnn-baseline": ("--seconds", 25),
    "cnn-lr-0.0005": ("--seconds", 25, "--learning-rate", 5e-4),
    "cnn-lr-0.01": ("--seconds", 25, "--learning-rate", 1e-2),
}
"""Names, and how they are trained; the pages of the first one are shown."""
_QUERY = "?workflowType=machine_learning"
_TIDY = """
const wait = (s) => new Promise((done) => setTimeout(done, s * 1000));
const style = document.createElement('style');
style.textContent = '.modebar-container { display: none !important }';
document.head.append(style);
const corner = document.elementFromPoint(innerWidth - 36, 36)?.closest('button');
if (corner) corner.click();
await wait(1);
"""
"""Closes the assistant, and hides the tools that plots show where there is no mouse."""
_SEARCH = """
const field = document.querySelector('input[placeholder="Search metric charts"]');
Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, '%s');
field.dispatchEvent(new Event('input', { bubbles: true }));
await wait(2);
"""
_MORE = """
const more = [...document.querySelectorAll('button')].find((one) => one.textContent.trim() === 'Show more');
if (more) more.click();
"""


def _plots(number: int) -> str:
    return f"document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length >= {number}"


def _text(text: str) -> str:
    return f"document.body.innerText.includes('{text}')"


def main() -> None:
    """Train, and keep pictures of the pages."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        with mlflow_server(home) as server:
            settings = {"TRACELET_BACKEND": "mlflow", "TRACELET_BACKEND_URL": server}
            for name, options in RUNS.items():
                trainings.end(home / name, trainings.start(home / name, settings, name, *options))
            _keep(server)


def _keep(server: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{next(iter(RUNS))}'")
    (trace,) = client.search_traces(
        locations=[experiment.experiment_id], filter_string=f"attributes.run_id = '{run.info.run_id}'"
    )
    all_runs = f"{server}/#/experiments/{experiment.experiment_id}/runs"
    one = f"{all_runs}/{run.info.run_id}"
    shots = {
        "mlflow-runs": Shot(
            f"{all_runs}{_QUERY}&compareRunsMode=CHART",
            1280,
            1090,
            _plots(1),
            _TIDY + _SEARCH % "_epoch|val/",
            _plots(6),
        ),
        "mlflow-run": Shot(f"{one}{_QUERY}", 1280, 1065, _text("Description"), _TIDY + _MORE, _text("val/loss")),
        "mlflow-metrics": Shot(
            f"{one}/model-metrics{_QUERY}", 1280, 1060, _plots(3), _TIDY + _SEARCH % "_epoch|val/", _plots(4)
        ),
        "mlflow-system": Shot(
            f"{one}/system-metrics{_QUERY}", 1280, 990, _plots(1), _TIDY + _SEARCH % "cpu|memory|threads", _plots(6)
        ),
        "mlflow-trace": Shot(
            f"{one}/traces{_QUERY}&selectedEvaluationId={trace.info.trace_id}", 1280, 800, _text("epoch"), _TIDY
        ),
    }
    for name, png in zip(shots, take(list(shots.values())), strict=True):
        keep_png(name, png)


if __name__ == "__main__":
    main()
