"""Files of a run: their names, and how they are written down in a spool."""

from __future__ import annotations

import math
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelet_otel.protocol.file_names import path_of, safe_name
from tracelet_otel.protocol.files import (
    CONTENT,
    ENTRY,
    Checkpoint,
    FileKind,
    RunFile,
    entry_name,
    entry_names,
    read_entry,
)

SAFE = {
    "a/b.txt": "a/b.txt",
    "/etc/passwd": "etc/passwd",
    "../../x": "__/__/x",
    "a/../b": "a/__/b",
    "./a": "a",
    "a//b/": "a/b",
    "": "_",
    "/": "_",
    "..": "__",
    ".hidden": ".hidden",
    "a\\b#c": "a_b_c",
    "two\nlines\t": "two_lines_",
    "100 % of %2e%2e%2F": "100 % of _2e_2e_2F",
    "größe = 1, 損失": "größe = 1, 損失",
    f"{'x' * 200}/{'x' * 200}": f"{'x' * 200}/{'x' * 200}",
    f"{'損' * 100}/{'y' * 201}.txt": f"{'損' * 63}_88bde653/{'y' * 187}_4af6349f.txt",
}


@pytest.mark.parametrize(("given_name", "expected"), SAFE.items())
def test_a_name_stays_what_it_is_as_far_as_it_stays_inside(given_name, expected):
    assert safe_name(given_name) == expected


@given(st.text())
def test_no_name_leads_out_of_the_run(name):
    made = safe_name(name)
    parts = made.split("/")
    assert not set(parts) & {"", ".", ".."}
    assert "\0" not in made
    assert not PurePosixPath(made).is_absolute()
    assert safe_name(made) == made


@pytest.mark.parametrize(
    ("name", "suffix", "step", "path"),
    [
        ("val/a", ".png", None, "val/a.png"),
        ("val/a", ".png", 7, "val/a/00000007.png"),
        ("val/a.png", ".png", None, "val/a.png"),
        ("val/a.png", ".png", 7, "val/a/00000007.png"),
        ("val/a.b", ".txt", 123456789, "val/a.b/123456789.txt"),
    ],
)
def test_what_has_a_step_has_a_file_for_each(name, suffix, step, path):
    assert path_of(name, suffix, step) == path


names = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), min_size=1).filter(
    lambda name: name not in (".", "..")
)
checkpoints = st.builds(
    Checkpoint,
    path=names,
    is_removed=st.booleans(),
    epoch=st.none() | st.integers(),
    monitor=st.none() | names,
    score=st.none() | st.floats(allow_nan=False),
    mode=st.none() | st.sampled_from(["min", "max"]),
    is_best=st.booleans(),
)
files = st.builds(
    RunFile,
    name=names,
    kind=st.sampled_from(FileKind),
    time_unix_nano=st.integers(0, 2**63),
    content=st.none() | names,
    size=st.none() | st.integers(0, 2**63),
    step=st.none() | st.integers(0, 2**63),
    checkpoint=st.none() | checkpoints,
)


@given(files)
def test_a_file_is_read_as_it_was_written(file):
    assert RunFile.from_json(file.to_json()) == file


def test_a_score_may_be_infinite():
    file = RunFile("a", FileKind.CHECKPOINT, 1, checkpoint=Checkpoint("a", score=math.inf))
    assert RunFile.from_json(file.to_json()) == file


@pytest.mark.parametrize("content", ["../x", "a/b", "..", ".", "", "a\0"])
def test_an_entry_leads_to_no_other_file(content):
    made = RunFile("a", FileKind.FILE, 1, content)
    with pytest.raises(ValueError, match="not the name of a file"):
        RunFile.from_json(made.to_json())


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"checkpoint": null, "kind": "nothing"}', "{"])
def test_what_is_no_description_is_told(text):
    with pytest.raises(ValueError, match="no description of a file"):
        RunFile.from_json(text)


def test_entries_are_in_the_order_in_which_they_were_made(tmp_path):
    made = [entry_name() for _ in range(100)]
    for name in reversed(made):
        (tmp_path / name).mkdir()
    (tmp_path / f".part-{entry_name()}").mkdir()
    (tmp_path / "anything").touch()
    assert entry_names(tmp_path) == made
    assert entry_names(tmp_path / "missing") == []


def test_an_entry_knows_its_content(tmp_path):
    entry = tmp_path / entry_name()
    entry.mkdir()
    file = RunFile("a", FileKind.FILE, 1, "a.txt")
    (entry / ENTRY).write_text(file.to_json())
    read = read_entry(entry)
    assert (read.file, read.content) == (file, entry / CONTENT / "a.txt")
