"""The terminal at the end of a run: what `examples/digits.py` prints, without Lightning's lines and its own table."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from pictures.browser import Shot, take
from pictures.kept import keep_png
from pictures.trainings import ROOT

_COLUMNS, _LINES = 150, 60
_NOT_OURS = re.compile(
    r"GPU available|TPU available|Tip: For seamless|^Restoring states|^Loaded model|`Trainer.fit` stopped|^\s*$"
)
"""What Lightning says, and empty lines."""
_THEIRS = "lightning_experiment: what MLflow has"
"""With it begins the example's own table."""


def printed(command: list[str], home: Path) -> str:
    """What a program prints to a terminal.

    Raises:
        RuntimeError: it has failed.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, _COLUMNS, 0, 0))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TRACELET_", "OTEL_", "MLFLOW_"))}
    environment = {
        **kept,
        "HOME": str(home),
        "TERM": "xterm-256color",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT / "src"),
    }
    process = subprocess.Popen(command, cwd=home, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = bytearray()
    # The relay has the terminal too, for a while longer.
    while select.select([ours], [], [], 0.5)[0] or process.poll() is None:
        if select.select([ours], [], [], 0)[0]:
            try:
                said += os.read(ours, 65536)
            except OSError:
                # So Linux tells that the other side is closed.
                break
    os.close(ours)
    text = said.decode()
    if process.wait():
        raise RuntimeError(text)
    return text


def _lines(said: str) -> list[str]:
    """The lines that stay: of one that was written again, what was written last."""
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in said.split("\n")]
    plain = [re.sub(r"\x1b\[[0-9;?]*[A-Za-ln-z]", "", line) for line in lines]
    return [line for line in plain if not _NOT_OURS.search(re.sub(r"\x1b\[[0-9;]*m", "", line))]


def main() -> None:
    """Run the example, and keep a picture of the terminal."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory) / "demo"
        home.mkdir()
        (home / "digits.py").write_bytes((ROOT / "examples" / "digits.py").read_bytes())
        said = printed([sys.executable, "digits.py"], home).replace(str(home), "/home/ada/demo")
        lines = _lines(said)
        end = next((number for number, line in enumerate(lines) if _THEIRS in line), len(lines))
        with Path(os.devnull).open("w") as nowhere:
            console = Console(record=True, width=_COLUMNS, file=nowhere, force_terminal=True)
            console.print(Text("$ python digits.py", style="bold"))
            for line in lines[:end]:
                console.print(Text.from_ansi(line), soft_wrap=False)
        path = Path(directory) / "terminal.svg"
        console.save_svg(str(path), title="demo", theme=MONOKAI)
        found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', path.read_text())
        assert found is not None
        width, height = 1180, round(1180 * float(found[2]) / float(found[1]))
        page = Path(directory) / "terminal.html"
        page.write_text(f"<body style='margin:0'><img src='{path.as_uri()}' width={width} style='display:block'>")
        keep_png("terminal", take([Shot(page.as_uri(), width, height)])[0])


if __name__ == "__main__":
    main()
