"""What the blocks of a page are to the tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.docs.blocks import parse, unexecuted


def page(tmp_path: Path, *parts: str) -> Path:
    path = tmp_path / "page.md"
    path.write_text("# A page\n\n" + "\n\n".join(parts) + "\n")
    return path


def block(language: str, *lines: str, notes: tuple[str, ...] = ()) -> str:
    return "\n".join([*(f"<!-- {note} -->" for note in notes), f"```{language}", *lines, "```"])


def run(path: Path) -> dict[str, object]:
    document = parse(path)
    for example in document.examples():
        example.evaluate()
    return document.namespace


def test_python_shares_a_namespace_and_commands_a_directory(tmp_path):
    seen = run(
        page(
            tmp_path,
            "<!--- invisible-code-block: python\nhidden = 1\n--->",
            block("python", "shown = hidden + 1"),
            block("python", "print('from a file')", notes=("file: told.py",)),
            block("console", "$ echo one \\", "  two > said", "three", "$ export WORD=four", "$ echo $WORD >> said"),
            block("bash", "python told.py >> said"),
            block("python", "again = shown"),
        )
    )
    assert (seen["again"], (tmp_path / "said").read_text()) == (2, "one two\nfour\nfrom a file\n")


@pytest.mark.parametrize(
    "wrong",
    [
        block("python", "never_made"),
        block("console", "$ false", "$ true"),
        block("console", "false"),
        block("bash", "false | true", "true"),
        block("bash", "true", notes=("exit code: 1",)),
        block("json", "{'a': 1}"),
        block("toml", "a = b"),
        block("ini", "a = 1"),
        block("yaml", "a: [1"),
        block("promql", "sum by ("),
        block("python", "", notes=("file: ../elsewhere.py",)),
    ],
    ids=lambda block: block.splitlines()[-2],
)
def test_a_block_that_is_wrong_fails(tmp_path, commands, wrong):
    with pytest.raises(Exception, match=r"."):
        run(page(tmp_path, wrong))


def test_a_block_with_a_reason_is_left_alone_and_one_may_fail_as_it_says(tmp_path):
    run(
        page(
            tmp_path,
            block("python", "never_made", notes=("not run: needs a GPU",)),
            block("python", "", notes=("file: kept.py", "not run: needs a GPU")),
            block("console", "$ exit 3", notes=("exit code: 3",)),
        )
    )
    assert not (tmp_path / "kept.py").exists()


def test_what_nobody_runs_needs_a_reason(tmp_path):
    path = page(
        tmp_path,
        block("perl", "1"),
        block("", "python train.py"),
        block("python", "1", notes=("file: train.py",)),
        block("text", "train.py"),
        block("mermaid", "graph TD"),
        block("{toctree}", "page"),
        block("perl", "1", notes=("not run: needs Perl",)),
        block("python", "1", notes=("file: other.py",)),
        block("console", "$ python other.py"),
        block("yaml", "a: 1", notes=("file: a.yaml",)),
    )
    assert list(unexecuted(parse(path))) == [
        "line 3: nobody runs 'perl'",
        "line 7: no language",
        "line 12: no later block starts train.py",
    ]


def test_pip_that_installs_nothing_knows_what_is_wrong(commands):
    def install(*words: str) -> str:
        child = subprocess.run(["pip", "install", "-q", *words], capture_output=True, text=True, check=False)
        return child.stderr.strip()

    assert install("tracelet-otel[mlflow,gpu]", "torch>=2") == ""
    assert install("tracelet-otel[mlfow]") == "tracelet-otel has no extra mlfow"
    assert install("tracelet") == "tracelet is not installed here, so nobody can say that this works"
    assert "is not the" in install("torch<1")
