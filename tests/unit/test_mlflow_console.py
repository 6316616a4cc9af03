"""The artifact of MLflow that has what a rank prints."""

from __future__ import annotations

from pathlib import Path

from tracelet_otel.exporters.mlflow.console import MlflowConsole
from tracelet_otel.protocol.console import ConsoleLine, join, put_lines, whole
from tracelet_otel.protocol.files import entry_names, read_entry


class GrowsMeanwhile:
    """A client that takes its time, while more is printed."""

    def __init__(self, grows: Path) -> None:
        self._grows = grows
        self.taken: list[tuple[str, int, bytes]] = []

    def log_artifact(self, run_id: str, path: str) -> None:
        size = Path(path).stat().st_size
        with self._grows.open("ab") as file:
            file.write(b"more\n")
        self.taken.append((Path(path).name, size, Path(path).read_bytes()))


def test_what_is_uploaded_does_not_grow_meanwhile(tmp_path):
    put_lines(tmp_path, "console.log", [ConsoleLine(1, "first")], 1)
    entry = read_entry(tmp_path / entry_names(tmp_path)[0])
    join(entry)
    grows = whole(entry.file, entry.content)
    client = GrowsMeanwhile(grows)
    MlflowConsole(client, "r1").write(entry.file, entry.content)
    assert client.taken == [("console.log", 6, b"first\n")]
    assert [path.name for path in grows.parent.iterdir()] == ["console.log"]
