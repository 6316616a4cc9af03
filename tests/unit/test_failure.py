"""Why a run failed: what is told of an exception, and what is not."""

from __future__ import annotations

import gc
import time
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sdk import provider
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.redact import without_secrets
from tracelet_otel.instrumentation.failure import failure_of
from tracelet_otel.instrumentation.outcome import Outcome
from tracelet_otel.instrumentation.signals import make_signals
from tracelet_otel.protocol.events import ERROR, Event
from tracelet_otel.protocol.failure import Failure, failure_in, without_failure


class Batch:
    """Something large that a frame holds."""


class OddError(Exception):
    def __str__(self) -> str:
        raise TypeError("no words")


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    held = Batch()
    try:
        raise error from cause  # noqa: TRY301
    except BaseException as one:
        assert held
        return one


def test_type_message_and_traceback():
    failure = failure_of(raised(ValueError("bad batch\nof 3"), cause=KeyError("label")))
    assert (failure.type, failure.message, failure.line) == ("ValueError", "bad batch\nof 3", "ValueError: bad batch")
    assert failure.stacktrace.startswith("KeyError: 'label'\n\nThe above exception was the direct cause")
    assert "    raise error from cause" in failure.stacktrace
    assert failure.stacktrace.endswith("\nValueError: bad batch\nof 3\n")
    odd = failure_of(raised(OddError()))
    assert odd.type == f"{__name__}.OddError"
    assert odd.message == "<its message cannot be had: TypeError>"


def test_nothing_that_the_frames_hold_is_kept():
    error = raised(ValueError("x"))
    assert error.__traceback__ is not None
    held = weakref.ref(error.__traceback__.tb_frame.f_locals["held"])
    failure = failure_of(error)
    del error
    gc.collect()
    assert (held(), failure.type) == (None, "ValueError")


def test_the_end_of_a_long_traceback_is_kept():
    failure = failure_of(raised(ValueError("x" * 20_000)))
    assert (len(failure.stacktrace), failure.stacktrace[:2]) == (8_000, "…\n")
    assert failure.stacktrace.endswith("xxx\n")
    assert failure.message == "x" * 8_000


def test_no_secret_is_told(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    outcome = Outcome(provider())
    outcome.training_ended(raised(ValueError("login with 0123456789abcdef at https://ada:lovelace@host/x failed")))
    assert outcome.failure is not None
    assert outcome.failure.message == "login with *** at https://***@host/x failed"
    assert "0123456789abcdef" not in outcome.failure.stacktrace
    assert "lovelace" not in outcome.failure.stacktrace


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key abcdefgh", "key ***"),
        ("abcdefghij and abcdefgh", "*** and ***"),
        ("short: abc", "short: abc"),
        ("postgresql://ada:p/w@db/x", "postgresql://***@db/x"),
        ("mail ada@host", "mail ada@host"),
        ("see 'http://a:b@c' and https://d@e/f?g", "see 'http://***@c' and https://***@e/f?g"),
        ("401 for url: https://host/x?token=sEcReT&a=b", "401 for url: https://host/x?token=***&a=b"),
        ("host=db password=sEcReT user=ada", "host=db password=*** user=ada"),
        ('    made = Client(api_key="sEcReT", size=3)', "    made = Client(api_key=***, size=3)"),
        ("{'Authorization': 'Bearer sEcReT', 'a': 1}", "{'Authorization': ***, 'a': 1}"),
        ("Command '['curl', '--token', 'sEcReT', 'x']' failed", "Command '['curl', '--token', ***, 'x']' failed"),
        ("train.py --hub-token sEcReT --lr 3", "train.py --hub-token *** --lr 3"),
        ("postgresql://ada:p'sEcReT@db/x", "postgresql://***@db/x"),
        (f"with ghp_{'sEcReT' * 6} as ever", "with *** as ever"),
        ("invalid token: 7, sorted(x, key=len)", "invalid token: 7, sorted(x, key=len)"),
        ("--use-auth-token --lr 3", "--use-auth-token --lr 3"),
        ("password:\nloss 3", "password:\nloss 3"),
    ],
)
def test_secrets_in_text(text, shown):
    assert without_secrets(text, ["abc", "abcdefgh", "abcdefghij"]) == shown


@given(st.text(st.sampled_from("password=:'\"\n @/-tokenx*"), max_size=60), st.lists(st.text("ab\n", min_size=6)))
def test_there_are_as_many_lines_as_before(text, secrets):
    assert without_secrets(text, secrets).count("\n") == text.count("\n")


@pytest.mark.parametrize("part", ["password", "http://", "--token ", "authorization: a ", "a-", "?token", '"', "eyJa."])
def test_secrets_in_a_long_text_are_soon_found(part):
    begin_s = time.process_time()
    without_secrets(part * (100_000 // len(part)), [])
    # Where it takes the square of the length, it takes minutes.
    assert time.process_time() - begin_s < 5


def test_a_failure_as_tags_and_back():
    failure = Failure("ValueError", "bad", "Traceback")
    tags = {"team": "vision", **failure.tags}
    assert failure_in(tags) == failure
    assert without_failure(tags) == {"team": "vision"}
    assert failure_in({"team": "vision"}) is None


class Keeps:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def export_events(self, events: list[Event]) -> None:
        self.events += events


ERROR_OF_A_FIT = ValueError("bad batch")


@pytest.mark.parametrize(
    ("trainings", "asked", "at_end", "told"),
    [
        ([ERROR_OF_A_FIT], None, None, "ValueError: bad batch"),
        ([ERROR_OF_A_FIT], None, RuntimeError("because of that"), "ValueError: bad batch"),
        ([None], None, RuntimeError("after it"), "RuntimeError: after it"),
        ([], None, RuntimeError("before it"), "RuntimeError: before it"),
        ([ERROR_OF_A_FIT], "failed", None, "ValueError: bad batch"),
        # The script has caught it, and trained again.
        ([ERROR_OF_A_FIT, None], None, None, None),
        ([ERROR_OF_A_FIT], "finished", None, None),
        ([None], "failed", None, None),
        ([KeyboardInterrupt()], None, None, None),
    ],
)
def test_a_run_that_fails_says_why(trainings, asked, at_end, told):
    signals, keeps = make_signals(provider(), Guard()), Keeps()
    signals.events.add_exporter(keeps)
    for error in trainings:
        signals.outcome.training_ended(None if error is None else raised(error))
    signals.settle(asked, at_end)
    assert [(one.name, one.body, one.severity) for one in keeps.events] == (
        [] if told is None else [(semconv.EVENT_EXCEPTION, told, ERROR)]
    )
    for event in keeps.events:
        assert event.attributes[semconv.EXCEPTION_STACKTRACE].endswith(f"{told}\n")
