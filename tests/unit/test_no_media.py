"""What is no picture or no sound is said, and not recorded as something else."""

from __future__ import annotations

import wave
from importlib import import_module

import pytest

from tracelet_otel.instrumentation.media import audio_suffix, image_suffix, write_audio


@pytest.mark.whole
def test_whole_numbers_are_samples_of_16_bits(tmp_path):
    np = import_module("numpy")
    write_audio(np.array([[1, -1], [32767, -32768]]), 8000, tmp_path / "a.wav")
    with wave.open(str(tmp_path / "a.wav"), "rb") as file:
        assert (file.getnchannels(), file.getnframes()) == (2, 2)
        assert file.readframes(2) == np.array([1, -1, 32767, -32768], "<i2").tobytes()


@pytest.mark.whole
@pytest.mark.parametrize(
    ("shape", "kind", "value", "error", "words"),
    [
        ((4,), "int32", 32768, ValueError, "16 bits"),
        ((4,), "int32", -32769, ValueError, "16 bits"),
        ((1, 16000), "float32", 0.5, ValueError, "turn it round"),
        ((4,), "bool", True, TypeError, "no sound"),
        ((4,), "complex64", 1, TypeError, "no sound"),
    ],
)
def test_what_is_no_sound_is_told(tmp_path, shape, kind, value, error, words):
    sound = import_module("numpy").full(shape, value, kind)
    with pytest.raises(error, match=words):
        write_audio(sound, 8000, tmp_path / "a.wav")
    assert not (tmp_path / "a.wav").exists()


def test_a_file_that_trackers_do_not_show_is_told():
    assert (image_suffix("a.JPG"), audio_suffix("a.mp3")) == (".jpg", ".mp3")
    for suffix, path in ((image_suffix, "a.svg"), (image_suffix, "a"), (audio_suffix, "a.m4a")):
        with pytest.raises(ValueError, match="log_artifact"):
            suffix(path)
