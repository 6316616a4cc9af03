"""The notice of a run: read whole or not at all, and to its end."""

from __future__ import annotations

import math

import pytest

from tracelet_otel import semconv
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.notice import NOTICE_SUFFIX, LastValue, Notice, SeenProcess
from tracelet_otel.protocol.trainer_state import TrainerState
from tracelet_otel.relay.notice import NoticeFile, read_notice

NOTICE = Notice(
    "r1",
    "a run",
    "Default",
    "here",
    SeenProcess(7, "boot/9"),
    owner=SeenProcess(6, "boot/8"),
    parent_run_id="r0",
    backends=("mlflow",),
    accounts={"mlflow": Account(5, 0, 2, "down")},
    urls={"mlflow": "http://there/1"},
    trainer=TrainerState(8, 1, 0.5, None),
    values=(LastValue("loss", 0.25, 8, semconv.AXIS_TRAINER, 10**18, False),),
    told_unix_nano=10**18 + 1,
)


def test_a_line_is_the_notice():
    assert Notice.from_line(NOTICE.line()) == NOTICE
    bare = Notice("r1", "a run", "Default", "here", SeenProcess(7, "boot/9"))
    assert Notice.from_line(bare.line()) == bare
    broken = Notice(**{**vars(NOTICE), "values": (NOTICE.values[0]._replace(value=math.nan),)})
    assert math.isnan(Notice.from_line(broken.line()).values[0].value)


@pytest.mark.parametrize(
    "line", [b"", b"00000000", NOTICE.line()[:-9], NOTICE.line()[9:], NOTICE.line().replace(b"0.25", b"0.26")]
)
def test_a_line_that_is_half_written_is_none(line, tmp_path):
    with pytest.raises(ValueError):  # noqa: PT011  # whatever of it is missing
        Notice.from_line(line)
    journal = tmp_path / "r1.journal"
    assert read_notice(journal) is None
    journal.with_suffix(NOTICE_SUFFIX).write_bytes(line)
    assert read_notice(journal) is None


def test_what_another_version_has_written_is_none():
    other = Notice(**{**vars(NOTICE), "told_unix_nano": 0})
    object.__setattr__(other, "more", 1)
    with pytest.raises(ValueError, match="this is not the notice of a run"):
        Notice.from_line(other.line())


def test_the_last_notice_can_be_read_after_the_file_is_gone(tmp_path):
    path = tmp_path / "r1.now"
    path.write_bytes(b"half")
    with path.open("r+b") as written, NoticeFile(path) as file:
        assert (file.read(), file.is_removed) == (None, False)
        path.unlink()
        written.write(NOTICE.line())
        written.flush()
        assert (file.read(), file.is_removed) == (NOTICE, True)
