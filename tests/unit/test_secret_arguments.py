"""No secret of a command line is ever kept, and what is no secret stays as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelet_otel._support.redact import HIDDEN, without_secret_arguments

KNOWN = "of-the-environment"
HIDDEN_ONES = [
    (["--api-key", "sEcReT", "ours"], ["--api-key", "***", "ours"]),
    (["--token=sEcReT", "ours"], ["--token=***", "ours"]),
    (["-token", "sEcReT"], ["-token", "***"]),
    (["password=sEcReT with, blanks"], ["password=***"]),
    (["+db.password=sEcReT", "lr=3"], ["+db.password=***", "lr=3"]),
    (["--wandb_key", "sEcReT", "--lr", "3"], ["--wandb_key", "***", "--lr", "3"]),
    (["--client-secret-value", "sEcReT"], ["--client-secret-value", "***"]),
    (["--PASSPHRASE", "sEcReT"], ["--PASSPHRASE", "***"]),
    (["--auth", "ada:sEcReT"], ["--auth", "***"]),
    (["--api-keys", "sEcReT", "sEcReT2", "--lr", "1"], ["--api-keys", "***", "***", "--lr", "1"]),
    (['--config={"api_key": "sEcReT", "lr": 3}'], ['--config={"api_key": ***, "lr": 3}']),
    (["logger={key: sEcReT, lr: 3}"], ["logger={key: ***, lr: 3}"]),
    (["-H", "Authorization: Bearer sEcReT"], ["-H", "Authorization: ***"]),
    (["https://ada:sEcReT@host/x?token=sEcReT&b=c"], ["https://***@host/x?token=***&b=c"]),
    (["--env", f"A={KNOWN}"], ["--env", "A=***"]),
    (["-H", "Authorization: Token sEcReT"], ["-H", "Authorization: ***"]),
    (["--url", "https://host/x?sv=1&sig=sEcReT%3D"], ["--url", "https://host/x?sv=1&sig=***"]),
    (["--db", "mysql://root:p@ss'sEcReT@host/db"], ["--db", "mysql://***@host/db"]),
    (["--broker", "ada:sEcReT@host:6379/0"], ["--broker", "***@host:6379/0"]),
    (["--passcode", "sEcReT", "--pw", "sEcReT"], ["--passcode", "***", "--pw", "***"]),
    (["--cred", "sEcReT"], ["--cred", "***"]),
    (["--webhook", "https://host/sEcReT"], ["--webhook", "***"]),
    ([f"hf_{'sEcReT' * 6}", "x"], ["***", "x"]),
]


@pytest.mark.parametrize(("arguments", "shown"), HIDDEN_ONES)
def test_what_a_name_says_is_secret_is_hidden(arguments, shown):
    assert list(without_secret_arguments(arguments, [KNOWN])) == shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["ours", "20"],
        ["--use-auth", "--lr", "3"],
        ["--max_tokens", "512", "--tokenizer", "bert", "--authors", "ada", "--keypoints", "17"],
        ["trainer.max_epochs=3", "+model=resnet", "~callbacks"],
        ["--layers", "1", "2", "-3", "--path", "/home/me@work/data"],
        ["", "=", "--", "-"],
        ["--image", "python:3.12", "--repo", "git@host:me/repo", "--design", "task-based-on-something-longer"],
    ],
)
def test_what_is_no_secret_stays(arguments):
    assert list(without_secret_arguments(arguments, [KNOWN])) == arguments


@given(st.lists(st.text()), st.lists(st.text()))
def test_there_are_as_many_arguments_as_before(arguments, secrets):
    shown = list(without_secret_arguments(arguments, secrets))
    assert len(shown) == len(arguments)
    long = [one for one in secrets if len(one) >= 6 and one not in HIDDEN * 6]
    assert not [one for one in long for argument in shown if one in argument]
