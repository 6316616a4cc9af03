"""Pictures, tables, texts and sounds that users hand over, as files."""

from __future__ import annotations

import json
import math
import wave
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tracelet_otel.instrumentation.media import (
    audio_suffix,
    figure_suffix,
    image_suffix,
    write_audio,
    write_figure,
    write_image,
    write_table,
)

mpl.use("Agg")
COLOURS = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)
"""An image of 6 rows and 5 columns."""
GRAY = COLOURS[:, :, 0]


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (COLOURS, COLOURS),
        (GRAY, GRAY),
        (GRAY[:, :, None], GRAY),
        (COLOURS.transpose(2, 0, 1), COLOURS),
        (np.dstack([COLOURS, GRAY]), np.dstack([COLOURS, GRAY])),
        (COLOURS.astype(np.int64), COLOURS),
        (COLOURS / 255, COLOURS),
        ((COLOURS / 255).astype(np.float32), COLOURS),
        (GRAY > 20, np.where(GRAY > 20, 255, 0)),
        (torch.tensor(COLOURS), COLOURS),
        (torch.tensor(COLOURS).permute(2, 0, 1), COLOURS),
        (torch.tensor(GRAY)[None], GRAY),
        (torch.tensor(COLOURS / 255, requires_grad=True), COLOURS),
        ((torch.tensor(GRAY > 20)).to(torch.bfloat16), np.where(GRAY > 20, 255, 0)),
        (Image.fromarray(COLOURS), COLOURS),
        # Of three by three by three, a tensor has its channels first, and an array has them last.
        (COLOURS[:3, :3], COLOURS[:3, :3]),
        (torch.tensor(COLOURS[:3, :3]).permute(2, 0, 1), COLOURS[:3, :3]),
    ],
)
def test_an_image_is_what_it_was(image, expected, tmp_path):
    write_image(image, tmp_path / "a.png")
    assert np.array_equal(read(tmp_path / "a.png"), expected)


def test_a_file_of_an_image_stays_what_it_is(tmp_path):
    source = tmp_path / "a.JPG"
    Image.fromarray(COLOURS).save(source)
    assert image_suffix(source) == ".jpg"
    assert image_suffix(str(tmp_path / "a.png")) == image_suffix(COLOURS) == ".png"
    write_image(str(source), tmp_path / "b.jpg")
    assert (tmp_path / "b.jpg").read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (np.zeros((2, 3, 4, 5)), "of shape"),
        (np.zeros((7, 8, 9)), "of shape"),
        (np.zeros(5), "of shape"),
        (COLOURS.astype(float), "numbers from 0.0 to 89.0"),
        (-COLOURS.astype(int), "numbers from -89 to 0"),
        (np.full((2, 2), math.nan), "numbers from nan"),
        (np.full((2, 2), 256), "numbers from 256"),
        (object(), "object is no image"),
        (np.array([["a"]]), "no image"),
    ],
)
def test_what_is_no_image_is_told(image, problem, tmp_path):
    with pytest.raises((TypeError, ValueError), match=problem):
        write_image(image, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_a_figure_of_matplotlib_is_a_picture_and_may_be_closed(tmp_path):
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(2, 1), dpi=100)
    axes.plot([1, 2, 3])
    assert figure_suffix(figure) == ".png"
    write_figure(figure, tmp_path / "a.png")
    plt.close(figure)
    assert read(tmp_path / "a.png").std() > 0


def test_a_figure_of_plotly_is_kept_as_one(tmp_path):
    from plotly import graph_objects as go
    from plotly.io import read_json

    figure = go.Figure(go.Scatter(y=[1, 2, 4]))
    assert figure_suffix(figure) == ".json"
    write_figure(figure, tmp_path / "a.json")
    assert read_json(str(tmp_path / "a.json")) == figure


def test_what_is_no_figure_is_told(tmp_path):
    with pytest.raises(TypeError, match="list is no figure"):
        write_figure([1, 2], tmp_path / "a.png")


ROWS = [["a", 1, 0.5, None, True], ["b", 2, math.nan, "x", False]]
NAMES = ["name", "count", "score", "rest", "flag"]
SHOWN = {"columns": NAMES, "data": [["a", 1, 0.5, None, True], ["b", 2, None, "x", False]]}


@pytest.mark.parametrize(
    ("columns", "data"),
    [
        (NAMES, ROWS),
        (NAMES, (tuple(row) for row in ROWS)),
        (None, dict(zip(NAMES, zip(*ROWS, strict=True), strict=True))),
        (None, pd.DataFrame(ROWS, columns=NAMES).astype({"rest": object})),
        (NAMES, [[torch.tensor(1) if cell == 1 else cell for cell in ROWS[0]], ROWS[1]]),
        (NAMES, [[np.float32(0.5) if cell == 0.5 else cell for cell in row] for row in ROWS]),
    ],
)
def test_a_table_is_what_it_was(columns, data, tmp_path):
    write_table(columns, data, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == SHOWN


def test_cells_that_json_does_not_have_are_text(tmp_path):
    write_table(None, [[math.inf, [1, 2], 1 + 2j]], tmp_path / "a.json")
    expected = {"columns": ["0", "1", "2"], "data": [["inf", "[1, 2]", "(1+2j)"]]}
    assert json.loads((tmp_path / "a.json").read_text()) == expected


def test_rows_that_are_not_as_long_as_there_are_columns_are_told(tmp_path):
    with pytest.raises(ValueError, match="row 1 has 1 cells, and there are 2 columns"):
        write_table(["a", "b"], [[1, 2], [3]], tmp_path / "a.json")


@pytest.mark.parametrize("make", [np.asarray, torch.tensor])
def test_a_sound_is_what_it_was(make, tmp_path):
    samples = np.array([[0.0, 1.0], [-1.0, 0.5], [2.0, -2.0]])
    write_audio(make(samples), 8000, tmp_path / "a.wav")
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth(), file.getnframes()) == (2, 8000, 2, 3)
        found = np.frombuffer(file.readframes(3), "<i2").reshape(3, 2)
    assert found.tolist() == [[0, 32767], [-32767, 16384], [32767, -32767]]


def test_a_file_of_a_sound_stays_what_it_is(tmp_path):
    (tmp_path / "a.mp3").write_bytes(b"sound")
    assert audio_suffix(tmp_path / "a.mp3") == ".mp3"
    write_audio(tmp_path / "a.mp3", None, tmp_path / "b.mp3")
    assert (tmp_path / "b.mp3").read_bytes() == b"sound"


def test_samples_need_a_rate_and_a_shape(tmp_path):
    with pytest.raises(ValueError, match="needs sample_rate"):
        write_audio(np.zeros(3), None, tmp_path / "a.wav")
    with pytest.raises(ValueError, match="is no sound"):
        write_audio(np.zeros((2, 2, 2)), 8000, tmp_path / "a.wav")
