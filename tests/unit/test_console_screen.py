"""What is left of what was printed."""

from __future__ import annotations

import io
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelet_otel.console.printed import Printed, severity_of
from tracelet_otel.console.screen import LONGEST_LINE, Screen

PLAIN = st.text(st.characters(min_codepoint=32, exclude_characters="\x7f\x9b", exclude_categories=["Cs", "Zl", "Zp"]))
MOVES = [f"\x1b[{one}" for one in ("A", "2A", "2K", "K", "J", "2J", "H", "31m", "5C", "3D", "9G", "?25l")]
CONTROLS = st.sampled_from([*MOVES, "\r", "\n", "\r\n", "\b", "\t", "\x1b]0;title\x07", "\x1b", "\x9b1m", "\x00"])
PRINTED = st.lists(st.one_of(PLAIN, CONTROLS), max_size=40).map("".join)


def lines_of(*texts: str) -> list[str]:
    screen, found = Screen(), []
    for text in texts:
        screen.feed(text)
        found += screen.take()
    return [line for line, _ in found + screen.finish()]


@given(st.lists(PLAIN, max_size=20), st.lists(st.integers(0, 400), max_size=10))
def test_plain_lines_are_all_there_once_and_in_order_however_they_come(lines, cuts):
    text = "".join(f"{line}\n" for line in lines)
    places = sorted({0, *(min(cut, len(text)) for cut in cuts), len(text)})
    parts = [text[begin:end] for begin, end in pairwise(places)]
    assert lines_of(*parts) == [line.rstrip() for line in lines]


@given(PRINTED, st.data())
def test_it_does_not_matter_where_what_is_printed_is_cut(text, data):
    cut = data.draw(st.integers(0, len(text)))
    whole, parts = Screen(), Screen()
    whole.feed(text)
    parts.feed(text[:cut])
    parts.feed(text[cut:])
    assert whole.finish() == parts.finish()


@given(PRINTED)
def test_lines_have_no_control_characters(text):
    assert not re.search(r"[\x00-\x1f\x7f\x9b]", "".join(lines_of(text)))


@given(st.lists(PLAIN.filter(bool), min_size=1, max_size=20))
def test_a_bar_that_is_written_over_is_what_it_was_last(states):
    width = max(map(len, states))
    text = "".join(f"\r{state.ljust(width)}" for state in states)
    assert lines_of(text, "\n") == [states[-1].rstrip()]


@given(st.integers(1, 5), st.integers(1, 30), st.integers(0, 5))
def test_several_bars_are_what_they_were_last(bars, refreshes, prints):
    """As rich draws them: the cursor goes up and each line is erased and written again."""
    parts = ["".join(f"before {number}\n" for number in range(prints))]
    for state in range(refreshes):
        up = "\r\x1b[2K" + "\x1b[1A\x1b[2K" * (bars - 1) if state else ""
        parts.append(up + "\n".join(f"bar {bar}: {state}" for bar in range(bars)))
    screen = Screen()
    for part in parts:
        screen.feed(part)
    expected = [f"before {number}" for number in range(prints)] + [f"bar {bar}: {refreshes - 1}" for bar in range(bars)]
    assert [line for line, _ in screen.finish()] == expected


def test_a_line_behind_several_bars_is_given_away_only_once():
    """Also where lines are taken while the bars go on."""
    screen, found = Screen(), []
    screen.feed("start\n")
    for state in range(50):
        screen.feed("\r\x1b[1A" * (state > 0) + f"outer {state}\ninner {state}")
        if state > 0:
            found += screen.take()
    screen.feed("\ndone\n")
    lines = found + screen.take() + screen.finish()
    assert [line for line, _ in lines] == ["start", "outer 49", "inner 49", "done"]


@pytest.mark.whole
def test_the_bar_of_tqdm():
    from tqdm import tqdm

    written = io.StringIO()
    for _ in tqdm(range(200), file=written, mininterval=0, ascii=True, desc="Epoch 0"):
        pass
    (line,) = lines_of(written.getvalue())
    assert re.fullmatch(r"Epoch 0: 100%\|#+\| 200/200 .*", line)


def test_a_line_is_taken_only_after_a_while_as_the_cursor_may_come_back():
    screen = Screen()
    screen.feed("outer 0\n", 1)
    assert screen.take(0) == []
    screen.feed("inner 0\x1b[A\router 1\n", 2)
    assert screen.take(1) == []
    screen.feed("\ndone\n", 3)
    # The cursor may come back to the line above.
    assert screen.take(3) == [("outer 1", 2), ("inner 0", 3)]
    assert screen.finish() == [("done", 3)]


def test_what_ends_a_line_of_windows_erases_nothing():
    assert lines_of("one\r\ntwo\r", "\nthree") == ["one", "two", "three"]


def test_a_line_without_an_end_is_cut():
    (line,) = lines_of(*(["x" * 1000] * 100))
    assert line == "x" * (LONGEST_LINE - 1) + "…"


def test_a_character_may_come_in_two_parts():
    printed = Printed("stdout")
    encoded = "größe\n".encode()
    for byte in encoded:
        printed.feed(bytes([byte]), 5)
    printed.feed(b"\xff\n", 5)
    assert [line.text for line in printed.take(5)] == ["größe", "\N{REPLACEMENT CHARACTER}"]


def test_secrets_are_hidden():
    printed = Printed("", ["supersecret"])
    printed.feed(b"key supersecret\nget https://me:word@host/x\n\x1b[1msuper\x1b[0msecret\n", 5)
    assert [line.text for line in printed.take(5)] == ["key ***", "get https://***@host/x", "***"]


def test_a_secret_of_several_lines_is_hidden_and_leaves_the_lines_as_they_are():
    printed = Printed("", ["-----BEGIN-----\nsupersecret\r\n-----END-----\n"])
    printed.feed(b"the key:\n-----BEGIN-----\nsupersecret\n-----END-----\nafter\n", 5)
    assert [line.text for line in printed.take(5)] == ["the key:", "***", "***", "***", "after"]


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("WARNING:root:careful", 13),
        ("INFO: GPU available: False", 9),
        ("2026-01-01 10:00:00,123 - my.module - ERROR - it broke", 17),
        ("[2026-01-01 10:00:00,123][my.module][CRITICAL] - it broke", 21),
        ("10:00:00 | DEBUG    | a:b:1 - text", 5),
        ("ERROR is a word", 0),
        ("the level is set to INFO", 0),
        ("", 0),
    ],
)
def test_the_severity_that_a_line_says(text, severity):
    assert severity_of(text) == severity
