from __future__ import annotations

import pytest

from tracelet_otel.exporters.wandb.folder import place_of, put
from tracelet_otel.exporters.wandb.mapping import STEP, TIME
from tracelet_otel.exporters.wandb.media import LoggedMedia, column_of, media_of_row


@pytest.mark.parametrize(
    ("name", "column"),
    [("val/my image", "val/my image"), ("_step", "media/_step"), ("a" * 180, "a" * 180)],
)
def test_media_are_in_a_column_of_their_name(name, column):
    assert column_of(name) == column


def test_long_names_stay_apart():
    names = ["x/" + "損" * 100 + end for end in "ab"]
    made = {column_of(name) for name in names}
    assert len(made) == 2
    assert all(len(column.encode()) < 180 for column in made)


def test_media_are_found_in_a_row_of_a_file():
    place = {TIME: 1.0, STEP: 3.0, "_step": 7.0}
    cells = {"a.b._type": "image-file", "a.b.path": "media/images/a.png", "a.b.width": 8.0, **place}
    assert media_of_row(cells) == LoggedMedia("a.b", {"_type": "image-file", "path": "media/images/a.png", "width": 8})


@pytest.mark.parametrize("value", [1.0, "NaN", "Infinity", "-Infinity"])
def test_numbers_are_no_media(value):
    assert media_of_row({"a._type": value, TIME: 1.0}) is None


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("a/config.yaml", "a/config.yaml"),
        ("config.yaml", "artifacts/config.yaml"),
        ("exception.txt", "artifacts/exception.txt"),
        ("media/a.png", "artifacts/media/a.png"),
    ],
)
def test_files_are_not_where_wandb_has_its_own(path, place):
    assert place_of(path) == place


def test_what_is_replaced_is_not_written_to(tmp_path):
    first, second, target = tmp_path / "first", tmp_path / "second", tmp_path / "folder" / "target"
    first.write_text("first")
    second.write_text("second")
    for content in (first, second, second):
        put(content, target)
        assert target.read_text() == content.name
    assert first.read_text() == "first"
    assert target.stat().st_ino == second.stat().st_ino
    assert list(target.parent.iterdir()) == [target]
