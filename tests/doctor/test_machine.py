"""What `tracelet-otel doctor` says of what is installed, of settings, and of the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.doctor.asking import doctor
from tests.doctor.distributions import install, uninstall
from tests.gpu import stand_in
from tests.support.disk import full_disk
from tests.support.waiting import wait_until
from tracelet_otel import semconv
from tracelet_otel._support.private_names import LIGHTNING
from tracelet_otel.doctor.running import is_relay

TITLES = [
    "installed",
    "entry points",
    "Lightning",
    "settings",
    "OpenTelemetry",
    "backend mlflow",
    "GPUs",
    "identity",
    "relays on this machine",
    "relay",
    "journals in",
]
"""How chapters begin, in their order."""


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    """As in a process of its own: tests before may have imported Lightning."""
    for package in LIGHTNING.packages:
        monkeypatch.delitem(sys.modules, package, raising=False)


def test_where_all_is_well_nothing_is_a_problem_and_nothing_is_left(tmp_path, database):
    before = sorted(tmp_path.rglob("*"))
    told = doctor()
    assert (told.code, told.mended()) == (0, [])
    assert [title.startswith(one) for title, one in zip(told.found, TITLES, strict=True)] == [True] * len(TITLES)
    versions = told.facts["installed"]["versions"]
    assert versions["tracelet-otel"] == version("tracelet-otel")
    assert versions["torch"] == version("torch")
    assert told.facts["installed"]["extras"]["mlflow"]
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_installed_and_too_old_or_missing(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path, "click", "7.0")
    install(monkeypatch, tmp_path, "tenacity", "9.9.0rc1")
    uninstall(monkeypatch, "wrapt")
    told = doctor()
    assert [(title, mend) for title, _, mend in told.mended()] == [
        ("installed", "pip install 'click>=8.2.1'"),
        ("installed", "pip install 'wrapt>=1.16.0'"),
    ]
    assert [text for _, text, _ in told.mended()] == [
        "tracelet-otel needs click>=8.2.1, and click 7.0",
        "tracelet-otel needs wrapt>=1.16.0, and wrapt is not installed",
    ]


def test_an_extra_that_is_not_installed(monkeypatch):
    monkeypatch.setenv("TRACELET_BACKEND", "wandb")
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert doctor().mended() == [
        ("backend wandb", "backend 'wandb' needs the package wandb", "pip install 'tracelet-otel[wandb]'")
    ]


def test_no_lightning(monkeypatch):
    uninstall(monkeypatch, "lightning", "pytorch-lightning")
    assert doctor().mended() == [
        (
            "Lightning",
            "Lightning is not installed: no training is recorded without it",
            "pip install 'lightning>=2.5.2,!=2.6.2,!=2.6.3'",
        )
    ]


def test_a_lightning_that_is_too_old(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path, "pytorch-lightning", "2.4.0")
    assert doctor().mended() == [
        (
            "Lightning",
            "pytorch-lightning 2.4.0 is too old: no training is recorded without it",
            "pip install --upgrade 'pytorch-lightning>=2.5.2'",
        )
    ]


def test_a_lightning_that_was_tampered_with_is_told_and_not_imported(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path, "lightning", "2.6.3")
    (tmp_path / "packages/lightning").mkdir()
    (tmp_path / "packages/lightning/__init__.py").write_text("raise SystemExit(f'{__name__} was imported')")
    [(title, text, mend)] = doctor().mended()
    assert title == "Lightning"
    assert text.startswith("lightning 2.6.3 is a release that was tampered with (GHSA-w37p-236h-pfx3)")
    assert mend == "Install another version, and replace the credentials that this machine holds"


@pytest.mark.cold
def test_a_lightning_that_is_newer_is_imported_to_look(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path, "lightning", "99.0")
    found = doctor().about("Lightning")[0]
    assert found == ("ok", "lightning 99.0, which is newer than 2.6.6 and was imported to look, has what is wrapped")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("", "lightning 99.0 is not as expected: "),
        ("import not_there", "lightning 99.0, which is newer than 2.6.6 and was imported to look, cannot be used: "),
    ],
)
def test_a_newer_lightning_without_what_is_wrapped(monkeypatch, tmp_path, code, text):
    install(monkeypatch, tmp_path, "lightning", "99.0")
    package = tmp_path / "packages/lightning/pytorch"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").write_text(code)
    [(title, found, mend)] = doctor().mended()
    assert (title, found.startswith(text)) == ("Lightning", True)
    assert mend.startswith("pip install 'lightning>=2.5.2,")
    assert "not_there" in found or "_LoggerConnector.log_metrics" in found


ANOTHER = "[opentelemetry_configurator]\nother = os:getcwd\n"


def test_two_configurators(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path, "other-distro", "1.0", ANOTHER)
    [(title, text, mend)] = doctor().mended()
    installed = "2 configurators are installed (configurator of opentelemetry-distro, other of other-distro)"
    assert (title, text) == ("entry points", f"{installed}: opentelemetry-instrument takes the first that it finds")
    assert mend == "set OTEL_PYTHON_CONFIGURATOR to the one that is meant, or uninstall the others"
    monkeypatch.setenv("OTEL_PYTHON_CONFIGURATOR", "configurator")
    told = doctor()
    assert (told.mended(), told.about("entry points")) == (
        [],
        [("note", "OTEL_PYTHON_CONFIGURATOR takes configurator configurator, and leaves other")],
    )
    monkeypatch.setenv("OTEL_PYTHON_CONFIGURATOR", "mine")
    [(_, text, mend)] = doctor().mended()
    assert (text, mend) == (
        "OTEL_PYTHON_CONFIGURATOR names 'mine', which nothing that is installed has",
        "unset OTEL_PYTHON_CONFIGURATOR",
    )


def test_no_configurator_and_none_of_our_entry_points(monkeypatch):
    uninstall(monkeypatch, "opentelemetry-distro", "tracelet-otel")
    found = [text for level, text in doctor().about("entry points") if level == "problem"]
    assert found[0].startswith(
        "entry points of tracelet-otel are missing: lightning of opentelemetry_instrumentor, nvidia_gpu of "
    )
    assert [text for text in found[1:] if "opentelemetry-instrument" in text] == [
        "there is no configurator, so opentelemetry-instrument sets nothing up",
        "there is no distro, so opentelemetry-instrument sets nothing up",
    ]


def test_entry_points_that_are_there_twice_or_cannot_be_loaded(monkeypatch, tmp_path):
    mine = "[opentelemetry_instrumentor]\nlightning = os:getcwd\n[tracelet_otel.trackers]\nbroken = not_there:SPEC\n"
    install(monkeypatch, tmp_path, "mine", "1.0", mine)
    assert [(title, mend) for title, _, mend in doctor().mended()] == [
        ("entry points", "install mine again, in a version that fits"),
        ("entry points", "uninstall mine"),
    ]


def test_a_misspelt_variable(monkeypatch):
    monkeypatch.setenv("TRACELET_BAKEND", "mlflow")
    told = doctor()
    assert ("settings", "correct its name, or unset it") in [(title, mend) for title, _, mend in told.mended("note")]
    assert told.about("settings") == [("note", "there is no setting TRACELET_BAKEND, did you mean 'TRACELET_BACKEND'?")]
    assert told.code == 0


def test_each_setting_with_where_it_comes_from_and_without_secrets(monkeypatch, tmp_path):
    monkeypatch.setenv("TRACELET_BACKEND", "mlflow,wandb")
    monkeypatch.setenv("TRACELET_TAGS", "team=vision")
    monkeypatch.setenv("TRACELET_API_KEY", "hush-hush-hush")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://ada:sesame-open@127.0.0.1:1/runs")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abracadabra")
    monkeypatch.setenv("WANDB_MODE", "offline")
    told = doctor()
    facts = told.facts["settings"]
    shown = [facts[name] for name in ("backend", "tags", "api_key", "project", "mlflow_tracking_uri", "wandb_mode")]
    assert shown == [
        {"value": ["mlflow", "wandb"], "source": "TRACELET_BACKEND"},
        {"value": {"team": "vision"}, "source": "TRACELET_TAGS"},
        {"value": "***", "source": "TRACELET_API_KEY"},
        {"value": "Default", "source": "default"},
        {"value": "postgresql://127.0.0.1:1/runs", "source": "MLFLOW_TRACKING_URI"},
        {"value": "offline", "source": "WANDB_MODE"},
    ]
    assert told.facts["OpenTelemetry"]["variables"] == {"OTEL_EXPORTER_OTLP_HEADERS": "***"}
    assert not [secret for secret in ("hush-hush", "sesame", "abracadabra") if secret in told.text]


def test_variables_that_turn_recording_off(monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert doctor().mended() == [
        ("OpenTelemetry", "OTEL_SDK_DISABLED=true: nothing is recorded", "unset OTEL_SDK_DISABLED")
    ]
    monkeypatch.delenv("OTEL_SDK_DISABLED")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    told = doctor()
    none = "OTEL_METRICS_EXPORTER=none: nothing is recorded under opentelemetry-instrument"
    assert (told.code, told.about("OpenTelemetry")) == (0, [("note", f"{none}; start_logging does not heed it")])
    # As `opentelemetry-instrument tracelet-otel doctor` has it.
    monkeypatch.setenv("PYTHONPATH", "/some/where/opentelemetry/instrumentation/auto_instrumentation:/src")
    mend = "name exporters, as in OTEL_METRICS_EXPORTER=tracelet, or unset it"
    assert doctor().mended() == [("OpenTelemetry", none, mend)]
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "mlfow,otlp")
    text = "OTEL_METRICS_EXPORTER names 'mlfow', which nothing that is installed has, did you mean 'mlflow'?"
    assert doctor().mended() == [("OpenTelemetry", text, mend)]
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "tracelet")
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "urllib3,lightning")
    [(level, text)] = doctor().about("OpenTelemetry")
    assert (level, text.endswith("turns recording without code off")) == ("note", True)


def test_nvml_that_is_missing(monkeypatch):
    monkeypatch.delenv("TRACELET_TRACK_SYSTEM")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr("tracelet_otel.doctor.gpus.gpu_attributes", dict)
    told = doctor()
    assert (told.code, told.about("GPUs")) == (0, [("note", "no NVML: nvidia-ml-py is not installed")])
    monkeypatch.setattr("tracelet_otel.doctor.gpus.gpu_attributes", lambda: {semconv.GPU_MODELS: ("NVIDIA H100",)})
    assert doctor().mended() == [
        (
            "GPUs",
            "there are GPUs (NVIDIA H100), and no NVML to read them: nvidia-ml-py is not installed",
            "pip install 'tracelet-otel[gpu]'",
        )
    ]


@pytest.mark.cold
def test_gpus_by_the_command_itself(monkeypatch, tmp_path, pytestconfig):
    """In a process of its own, since a library of NVML is found once in a process."""
    monkeypatch.delenv("TRACELET_TRACK_SYSTEM")
    nvml = stand_in.StandIn(stand_in.build(tmp_path), tmp_path / "nvml.txt")
    nvml.plays(stand_in.machine(2))
    for name, value in {**nvml.environment, "CUDA_VISIBLE_DEVICES": "1"}.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-c", "from tracelet_otel.cli import main; main()", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    [gpus] = [one for one in json.loads(done.stdout)["chapters"] if one["title"] == "GPUs"]
    assert [finding["text"] for finding in gpus["findings"]] == ["NVML works, and a training is seen to use 1"]
    assert [(one["index"], one["uuid"]) for one in gpus["facts"]["gpus"]] == [(1, stand_in.uuid(1))]


def test_the_identity_of_a_run_that_begins_here(monkeypatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=vision")
    monkeypatch.setenv("TRACELET_EXP_NAME", "wide")
    monkeypatch.setenv("TRACELET_GROUP", "widths")
    for name, value in {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    facts = doctor().facts["identity"]
    assert (facts["rank"], facts["world_size"]) == (3, 8)
    told = facts["attributes"]
    assert (told["team"], told[semconv.RUN_NAME], told[semconv.RUN_GROUP]) == ("vision", "wide", "widths")
    assert not [name for name in told if name.startswith("process.")]


def test_a_disk_that_is_full_and_a_directory_that_is_none(monkeypatch, tmp_path):
    title = f"journals in {tmp_path}/journals"
    (tmp_path / "journals").mkdir()
    with full_disk():
        told = doctor()
    problems = [one for one in told.mended() if one[0] == title]
    mend = (
        f"make {tmp_path}/journals writable; free some of the disk, or name another directory as TRACELET_JOURNAL_DIR"
    )
    assert problems == [(title, "it cannot be written, so no run can begin: File too large", mend)]
    assert list((tmp_path / "journals").iterdir()) == []
    monkeypatch.setattr("tracelet_otel.doctor.journals._LITTLE_BYTES", 2**62)
    [(_, text, _)] = [one for one in doctor().mended() if one[0] == title]
    assert text.endswith("left: runs lose values when it is full")
    (tmp_path / "journals").rmdir()
    (tmp_path / "journals").touch()
    monkeypatch.undo()
    monkeypatch.setenv("TRACELET_JOURNAL_DIR", str(tmp_path / "journals"))
    monkeypatch.chdir(tmp_path)
    [(_, text, _)] = [one for one in doctor().mended() if one[0] == title]
    assert text == "it cannot be written, so no run can begin: Not a directory"


@pytest.mark.cold
def test_relays_that_run(monkeypatch, pytestconfig):
    relay = subprocess.Popen([sys.executable, "-m", "tracelet_otel.relay"], stdin=subprocess.PIPE, stdout=-3, stderr=-3)

    def runs() -> bool:
        return relay.pid in [one["pid"] for one in doctor().facts["relays on this machine"]["relays"]]

    try:
        wait_until(runs, 30, "the relay's command line")
    finally:
        relay.kill()
        relay.communicate()
    assert not runs()


@pytest.mark.parametrize(
    ("command", "is_one"),
    [
        (["python", "-m", "tracelet_otel.relay"], True),
        (["/usr/bin/python", "/usr/bin/tracelet-otel", "relay", "--bind", "0.0.0.0:1"], True),
        (["python", "-m", "tracelet_otel.console"], False),
        (["tracelet-otel", "doctor", "--relay", "http://host:1"], False),
        ([], False),
    ],
)
def test_command_lines_of_relays(command, is_one):
    assert is_relay(command) == is_one


def test_a_check_that_fails_or_hangs_is_told_and_takes_nothing_else_with_it(monkeypatch):
    def fails(_settings):
        raise RuntimeError("not my day")

    monkeypatch.setattr("tracelet_otel.doctor.identity.run_resource", lambda *_, **__: fails(None))
    told = doctor()
    assert told.mended() == [
        (
            "identity",
            "the check itself failed: RuntimeError('not my day')",
            "report it as a bug of tracelet-otel",
        )
    ]
    assert len(told.chapters) == len(TITLES)
