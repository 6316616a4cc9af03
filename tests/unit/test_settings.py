from __future__ import annotations

from pathlib import Path

import pytest

from tracelet_otel.errors import ConfigurationError
from tracelet_otel.settings import load


def test_arguments_win_over_config_and_config_over_environment(monkeypatch):
    for name in ("PROJECT", "EXP_NAME", "BACKEND"):
        monkeypatch.setenv(f"TRACELET_{name}", "environment")
    settings = load({"project": "argument", "exp_name": None}, {"project": "config", "exp_name": "config"})
    assert (settings.project, settings.exp_name, settings.backend) == ("argument", "config", ("environment",))


@pytest.mark.parametrize("backend", ["mlflow, other", ["mlflow", "other"], ("MLflow", "other", "mlflow")])
def test_backends_are_a_name_a_list_or_comma_separated_text(backend):
    assert load({"backend": backend}, None).backend == ("mlflow", "other")


def test_backends_from_the_environment(monkeypatch):
    monkeypatch.setenv("TRACELET_BACKEND", "a,b")
    assert load({}, None).backend == ("a", "b")


def test_mlflow_is_the_default():
    assert load({}, None).backend == ("mlflow",)


def test_every_setting_is_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("TRACELET_METRICS_INTERVAL", "2.5")
    monkeypatch.setenv("TRACELET_TRACK_LIGHTNING", "false")
    settings = load({}, None)
    assert (settings.metrics_interval, settings.track_lightning) == (2.5, False)


@pytest.mark.parametrize(
    ("text", "console"), [("off", False), ("false", False), ("true", True), ("1", True), ("all", "all")]
)
def test_whose_console_is_recorded(monkeypatch, text, console):
    monkeypatch.setenv("TRACELET_CONSOLE", text)
    assert load({}, None).console == console


def test_a_user_without_a_home_is_asked_for_a_directory(monkeypatch):
    for name in ("HOME", "XDG_STATE_HOME", "TRACELET_JOURNAL_DIR"):
        monkeypatch.delenv(name, raising=False)

    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(ConfigurationError, match="TRACELET_JOURNAL_DIR"):
        load({}, None)
    assert load({}, {"journal_dir": "/journals"}).journal_dir == Path("/journals")


def test_an_unknown_key_is_named_with_the_closest_one():
    with pytest.raises(ConfigurationError, match=r"unknown config key 'track_litning', did you mean 'track_lightning'"):
        load({}, {"track_litning": True})
    with pytest.raises(ConfigurationError, match=r"unknown config key 'x'\. Known keys: exp_name, project, backend"):
        load({}, {"x": True})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"metrics_interval": 0}, "metrics_interval .*: it has to be greater than 0"),
        ({"export_interval": "soon"}, r"export_interval \(or TRACELET_EXPORT_INTERVAL\): it has to be a number"),
        ({"track_git": "perhaps"}, r"track_git .*: it has to be true or false"),
        ({"ranks": "all"}, r"ranks .*: it has to be one of 'merged' or 'each'"),
        ({"run_id": "it's"}, r"run_id \(or TRACELET_RUN_ID\): it has to be 1 to 64 letters, digits, '_', '.' or '-'"),
        ({"relay_bind": "here"}, r"relay_bind .*: it has to be a host and a port"),
        ({"console": "some"}, r"console \(or TRACELET_CONSOLE\): it has to be true, false or 'all'$"),
        ({"exp_name": 3}, r"exp_name .*: it has to be text"),
        ({"backend": []}, "name at least one backend"),
        ({"backend": 3}, "give a name, a list of names"),
    ],
)
def test_a_malformed_setting_is_named(config, message):
    with pytest.raises(ConfigurationError, match=message):
        load({}, config)


def test_a_secret_is_shown_nowhere():
    assert "hush" not in repr(load({"api_key": "hush"}, None))
    with pytest.raises(ConfigurationError) as raised:
        load({"api_key": ["hush"]}, None)
    assert "hush" not in str(raised.value)
