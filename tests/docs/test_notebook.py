"""The example of a notebook in a real kernel: what its cells show, and how its runs end."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import nbformat
import pytest
from mlflow import MlflowClient
from nbclient import NotebookClient

from tests.support.mlflow_store import stored_run
from tests.support.trainings import EXAMPLES

pytestmark = pytest.mark.usefixtures("commands", "with_screen")


class Words(HTMLParser):
    """The text of a piece of HTML."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_data(self, data):
        self.found.append(data)


def words(html):
    """What people read, with single blanks."""
    return " ".join(" ".join(Words(html).found).split())


@pytest.fixture
def jupyter(tmp_path, monkeypatch):
    """Directories of a user of notebooks."""
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        (tmp_path / "jupyter" / variable).mkdir(parents=True)
        monkeypatch.setenv(variable, str(tmp_path / "jupyter" / variable))


@pytest.mark.usefixtures("jupyter")
def test_a_notebook(database, tmp_path):
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    nbformat.validate(notebook)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    cells = dict(enumerate(notebook.cells))
    begin = next(index for index, cell in cells.items() if "start_logging" in cell.source)
    with client.setup_kernel():
        # The kernel ends as after a click on "Shut down", which waits for the end of its runs.
        client.km.shutdown_wait_time = 60
        for index, cell in cells.items():
            client.execute_cell(cell, index)
        stored = stored_run(database)
        outputs = {index: cell.get("outputs", ()) for index, cell in cells.items()}
        # Two more runs, of which the first ends as the cell runs again, and the other with the kernel.
        again = [nbformat.from_dict(json.loads(json.dumps(cells[begin]))) for _ in range(2)]
        notebook.cells += again
        for number, cell in enumerate(again, len(cells)):
            client.execute_cell(cell, number)
    losses = {step: value for name, step, value, _ in stored.points if name == "train/loss"}
    assert (stored.status, stored.name, sorted(losses)) == ("FINISHED", "from a notebook", list(range(40)))
    card, shown = outputs[begin]
    assert card.output_type == "display_data"
    assert "text/html" not in shown.data, "the cell has its card already"
    assert shown.data["text/plain"].startswith("<Run 'from a notebook' in 'examples': recording, mlflow, id ")
    told = words(card.data["text/html"])
    assert told.startswith("from a notebook in examples: finished after "), "updated in place"
    ends = [losses[39], min(losses.values()), max(losses.values())]
    assert f"train/loss {' '.join(f'{value:.4g}' for value in ends)}" in told
    assert "mlflow ui --backend-store-uri sqlite:///" in told
    [last] = [one.data["text/plain"] for one in outputs[max(outputs)] if one.output_type == "execute_result"]
    assert last == str([(step, round(losses[step], 4)) for step in range(0, 40, 10)])
    store = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = store.get_experiment_by_name("examples")
    ended = [run.info.status for run in store.search_runs([experiment.experiment_id])]
    assert ended == ["FINISHED"] * 3
    first, _ = again[0].outputs
    assert words(first.data["text/html"]).startswith("from a notebook in examples: finished after ")
