"""The blocks of a page, as Sybil finds them, and what runs each.

A page's Python shares one namespace, and its commands one directory. Comments on the lines above a block say more:
`<!-- file: NAME -->` has it written to that file, `<!-- exit code: N -->` is how its commands end where that is not 0,
and `<!-- not run: REASON -->` leaves it alone.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

import yaml
from sybil import Document, Example, Region, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, FencedCodeBlockLexer

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_ENDS_WITHIN_S: Final = 120
_FENCES: Final = FencedCodeBlockLexer(".*")
_INVISIBLE: Final = DirectiveInHTMLCommentLexer(
    "invisible-code(?:-block)?", mapping={"arguments": "language", "source": "source"}
)
_NOTE: Final = re.compile(r"^[ \t]*<!-- (file|exit code|not run): (\S.*?) -->\n\Z", re.MULTILINE)


def _python(example: Example) -> None:
    PythonEvaluator()(example)


def _shell(example: Example) -> None:
    """Run a script of bash, which ends with the first command that fails."""
    expected = int(example.region.lexemes["notes"].get("exit code", 0))
    script = f"set -eo pipefail\n{example.parsed}"
    shell = subprocess.Popen(
        ["bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        output, _ = shell.communicate(timeout=_ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        os.killpg(shell.pid, signal.SIGTERM)
        raise
    assert shell.returncode == expected, f"{example.path}:{example.line}: exit code {shell.returncode}\n{output}"


def _console(example: Example) -> None:
    """Run what stands behind prompts; what is shown below a command is an illustration."""
    example.parsed = "\n".join(commands(example.parsed))
    assert example.parsed, f"{example.path}:{example.line}: no line begins with a prompt"
    _shell(example)


def commands(session: str) -> Iterator[str]:
    """The commands of what is seen in a terminal: lines after the prompt `$ `, and what a backslash continues."""
    goes_on = False
    for line in session.splitlines():
        if goes_on or line.startswith("$ "):
            yield line.removeprefix("$ ")
            goes_on = line.endswith("\\")


def _query(example: Example) -> None:
    command = ["promtool", "--experimental", "promql", "format", example.parsed]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{example.path}:{example.line}: {done.stderr}"


def _parsed(parse: Callable[[str], Any]) -> Callable[[Example], None]:
    def evaluate(example: Example) -> None:
        parse(example.parsed)

    return evaluate


def _file(example: Example) -> None:
    path = Path(example.region.lexemes["notes"]["file"])
    assert Path().absolute() in Path(os.path.normpath(path.absolute())).parents, f"{path} is elsewhere"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(example.parsed)


RUN: Final[dict[str, Callable[[Example], None]]] = {
    "python": _python,
    "console": _console,
    "bash": _shell,
    "sh": _shell,
    "promql": _query,
    "yaml": _parsed(lambda text: list(yaml.safe_load_all(text))),
    "toml": _parsed(tomllib.loads),
    "json": _parsed(json.loads),
    "ini": _parsed(lambda text: configparser.ConfigParser(interpolation=None).read_string(text)),
}
"""What is done with a block of a language."""
_SHELLS: Final = ("console", "bash", "sh")
SHOWN: Final = ("text", "output", "mermaid")
"""Languages of blocks that are there to be read."""


def blocks(document: Document) -> Iterator[Region]:
    """Every block of a page, as a parser of Sybil.

    Of a region, `lexemes` has its `language`, its `source` and the `notes` above it.
    """
    for region in chain(_FENCES(document), _INVISIBLE(document)):
        notes = region.lexemes["notes"] = _notes(document.text[: region.start])
        region.parsed = region.lexemes["source"]
        if "file" in notes and "not run" not in notes:
            region.evaluator = _file
        elif "not run" not in notes:
            region.evaluator = RUN.get(region.lexemes["language"])
        yield region


def _notes(before: str) -> dict[str, str]:
    found: dict[str, str] = {}
    while note := _NOTE.search(before):
        found[note[1]] = note[2]
        before = before[: note.start()]
    return found


def parse(page: Path) -> Document:
    """A page with its blocks."""
    return Sybil([blocks]).parse(page)


def unexecuted(document: Document) -> Iterator[str]:
    """What nobody runs and has no reason beside it: line and language of each such block."""
    examples = list(document.examples())
    for number, example in enumerate(examples):
        language, notes = example.region.lexemes["language"], example.region.lexemes["notes"]
        if "not run" in notes or language in SHOWN or language.startswith("{"):
            continue
        if "file" in notes:
            later = (one.region for one in examples[number + 1 :])
            starts = (one.parsed for one in later if one.lexemes["language"] in _SHELLS)
            if language in ("python", *_SHELLS) and not any(notes["file"] in one for one in starts):
                yield f"line {example.line}: no later block starts {notes['file']}"
        elif language not in RUN:
            yield f"line {example.line}: nobody runs {language!r}" if language else f"line {example.line}: no language"
