"""Which backends there are, what each needs, and what of their settings may be kept."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import Field, SecretStr

from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters import registry
from tracelet_otel.exporters.spec import TrackerOptions
from tracelet_otel.settings import from_plain, load, to_plain

BACKENDS = ["mlflow", "wandb", "clearml"]

WITHOUT = """
import sys
from tracelet_otel import MissingDependencyError
from tracelet_otel.exporters.registry import specs, trackers
from tracelet_otel.settings import load

settings = load({"backend": sys.argv[1]}, None)
specs()
# As if the client's package were not installed; what we need ourselves is loaded.
sys.path = [path for path in sys.path if "site-packages" not in path]
sys.path_importer_cache.clear()
sys.path.insert(0, "")
try:
    trackers(settings)
except MissingDependencyError as error:
    print(error)
"""


@pytest.mark.whole
def test_a_stub_in_the_place_of_a_client_is_no_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    monkeypatch.setattr(sys.modules["mlflow"], "__spec__", None)
    registry.check("mlflow", load({}, None))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_package_that_is_missing_is_named_with_what_installs_it(backend, tmp_path):
    # A folder of the package's name, as W&B makes one in the working directory, is no package.
    (tmp_path / backend).mkdir()
    command = [sys.executable, "-c", WITHOUT, backend]
    child = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert child.stdout.strip() == (
        f"backend {backend!r} needs the package {backend}: pip install 'tracelet-otel[{backend}]'"
    ), child.stderr


@pytest.mark.whole
def test_unknown_backends_are_named_with_the_known_ones():
    with pytest.raises(
        ConfigurationError,
        match=r"unknown backend 'wandbb', did you mean 'wandb'\? known backends: .*mlflow",
    ):
        registry.trackers(load({"backend": ["mlflow", "wandbb"]}, None))


def test_one_address_does_not_do_for_several_backends():
    with pytest.raises(
        ConfigurationError, match="backend_url is the address of one backend: with several, give MLFLOW"
    ):
        registry.absolute(load({"backend": BACKENDS, "backend_url": "http://host"}, None))


@pytest.mark.whole
@pytest.mark.parametrize(
    ("backend", "variables"), [("mlflow", "MLFLOW_TRACKING_TOKEN"), ("clearml", "CLEARML_API_ACC")]
)
def test_a_key_that_nobody_takes_is_refused_and_not_shown(backend, variables):
    with pytest.raises(ConfigurationError, match=f"{backend} takes no api_key: set {variables}") as raised:
        registry.check(backend, load({"backend": backend, "api_key": "hush"}, None))
    assert "hush" not in str(raised.value)


@pytest.mark.whole
def test_a_key_is_for_the_backend_that_takes_one():
    settings = load({"backend": BACKENDS, "api_key": "for W&B"}, None)
    for backend in BACKENDS:
        registry.check(backend, settings)


@pytest.mark.parametrize(
    ("backend", "field"),
    [("mlflow", "mlflow_tracking_uri"), ("wandb", "wandb_base_url"), ("clearml", "clearml_api_host")],
)
def test_the_address_that_was_given_wins_over_the_variable_and_loses_its_password_on_disk(backend, field, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "WANDB_BASE_URL", "CLEARML_API_HOST"):
        monkeypatch.setenv(name, "http://variable")
    assert registry.absolute(load({"backend": backend}, None)).options[field] == "http://variable"
    given = registry.absolute(load({"backend": backend, "backend_url": "http://ada:hush@given"}, None))
    assert (given.options[field], given.backend_url) == ("http://ada:hush@given", None)
    kept = registry.for_a_journal(given)
    assert kept.options[field] == "http://given"
    assert "hush" not in str(to_plain(kept))
    assert from_plain(to_plain(kept)) == kept
    assert registry.have_same_stores(kept, given)
    assert registry.with_credentials(kept, given).options[field] == "http://ada:hush@given"
    other = registry.absolute(load({"backend": backend, "backend_url": "http://other"}, None))
    assert not registry.have_same_stores(kept, other)
    assert registry.with_credentials(kept, other) == kept


@pytest.mark.parametrize("backend", BACKENDS)
def test_addresses_that_a_journal_has_no_use_for_are_not_kept_in_it(backend, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "WANDB_BASE_URL", "CLEARML_API_HOST"):
        monkeypatch.setenv(name, f"http://ada:hush@{name.partition('_')[0].lower()}")
    arguments = {"backend": [backend, "otlp"], "otlp_endpoint": "http://ada:hush@collector"}
    kept = registry.for_a_journal(registry.absolute(load(arguments, None)))
    assert "hush" not in str(to_plain(kept))
    assert [value for value in to_plain(kept).values() if "http://" in str(value)] == [f"http://{backend}"]
    assert from_plain(to_plain(kept)) == kept


def test_variables_of_a_tracker_are_its_options_and_an_empty_one_says_nothing(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host")
    monkeypatch.setenv("MLFLOW_RUN_ID", "")
    monkeypatch.setenv("WANDB_MODE", "offline")
    settings = registry.absolute(load({}, None))
    assert settings.options == {"mlflow_tracking_uri": "http://host", "mlflow_run_id": None}
    monkeypatch.setenv("MLFLOW_RUN_ID", "it's")
    with pytest.raises(ConfigurationError, match=r"invalid settings: MLFLOW_RUN_ID: it has to be 1 to 64 letters"):
        registry.absolute(load({}, None))


class SecretOptions(TrackerOptions):
    mlflow_tracking_uri: str | None = None
    mlflow_password: SecretStr | None = Field(default=None, alias="MLFLOW_PASSWORD")


def test_a_secret_of_a_tracker_gets_to_it_and_on_no_disk(monkeypatch):
    monkeypatch.setenv("MLFLOW_PASSWORD", "hush")
    spec = replace(registry.spec_of("mlflow"), options=SecretOptions)
    monkeypatch.setattr(registry, "spec_of", lambda _: spec)
    own = registry.absolute(load({}, None))
    given = registry.options_of("mlflow", from_plain(to_plain(own)))
    assert given.mlflow_password.get_secret_value() == "hush"
    kept = registry.for_a_journal(own)
    assert "hush" not in str(to_plain(kept))
    again = registry.options_of("mlflow", registry.with_credentials(from_plain(to_plain(kept)), own))
    assert again.mlflow_password.get_secret_value() == "hush"


def test_settings_that_version_0_1_0_has_kept_are_read(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://not-that-one")
    kept = {**to_plain(load({}, None)), "mlflow_tracking_uri": "http://host", "wandb_dir": None, "netrc": None}
    options = registry.options_of("mlflow", from_plain(kept))
    assert (options.mlflow_tracking_uri, options.mlflow_run_id) == ("http://host", None)
    assert registry.options_of("wandb", from_plain({**kept, "netrc": "/n"})).wandb_netrc == Path("/n")


def test_folders_stay_where_they_are_when_the_directory_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DIR", "runs")
    settings = registry.absolute(load({"backend": "wandb"}, None))
    assert settings.options["wandb_dir"] == str(tmp_path / "runs")
    assert registry.options_of("wandb", from_plain(to_plain(settings))).wandb_dir == tmp_path / "runs"
    monkeypatch.delenv("WANDB_DIR")
    assert registry.absolute(load({"backend": "wandb"}, None)).options["wandb_dir"] == str(Path.cwd())


@pytest.mark.parametrize(
    ("variables", "backends", "run_id"),
    [
        ({"MLFLOW_RUN_ID": "m", "WANDB_RUN_ID": "w"}, ["mlflow", "wandb"], "m"),
        ({"MLFLOW_RUN_ID": "m", "WANDB_RUN_ID": "w"}, ["wandb", "mlflow"], "w"),
        ({"MLFLOW_RUN_ID": "m"}, ["wandb"], None),
        ({"WANDB_RUN_ID": "not for files"}, ["wandb"], None),
        ({"CLEARML_TASK_ID": "c", "MLFLOW_RUN_ID": "m"}, ["clearml"], "c"),
        ({"TRACELET_RUN_ID": "t", "MLFLOW_RUN_ID": "m"}, ["mlflow"], "t"),
    ],
)
def test_the_run_to_continue_is_named_by_a_backend_that_is_used(variables, backends, run_id, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert registry.run_to_continue(registry.absolute(load({"backend": backends}, None))) == run_id
