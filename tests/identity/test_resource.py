"""The resource of a run: all parts of its identity, and no credential in any of them."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.identity.checkouts import checkout, git, revision
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.clearml.mapping import description
from tracelet_otel.exporters.mlflow.mapping import resource_tags
from tracelet_otel.protocol.run_identity import run_identity
from tracelet_otel.resource.run_resource import run_resource
from tracelet_otel.resource.script import code_directories

SECRET = "sEcReT"


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A checkout whose script runs, elsewhere."""
    code = checkout(tmp_path / "code")
    git(code, "remote", "add", "origin", "https://git.local/org/repo.git")
    monkeypatch.setattr(sys, "argv", [str(code / "train.py"), f"--key={SECRET}"])
    return code


def resource(**options):
    guard = Guard()
    made = run_resource("1", "name", "project", semconv.RANKS_MERGED, guard=guard, **options)
    assert guard.counts == {}
    return dict(made.attributes)


@pytest.mark.whole
def test_all_of_it(tmp_path, monkeypatch, code):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("CONTAINER_NAME", "main")
    monkeypatch.setenv("POD_NAME", "train-0")
    found = resource()
    for varying in ("service.instance.id", "tracelet.torch.version", "tracelet.lightning.version"):
        assert found.pop(varying)
    for machine in ("tracelet.host.cpu.count", "tracelet.host.cpu.logical_count", "tracelet.host.memory.size"):
        assert found.pop(machine) > 0
    for optional in (
        "host.cpu.model.name",
        "tracelet.gpu.models",
        "k8s.node.name",
        "k8s.namespace.name",
        "tracelet.cuda.version",
        "tracelet.gpu.driver_version",
    ):
        found.pop(optional, None)
    assert found == {
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": found["telemetry.sdk.version"],
        "service.name": "project",
        "tracelet.run.id": "1",
        "tracelet.run.name": "name",
        "tracelet.project.name": "project",
        "host.name": platform.node(),
        "host.arch": found["host.arch"],
        "os.type": platform.system().lower(),
        "os.version": found["os.version"],
        "process.pid": os.getpid(),
        "process.command": str(code / "train.py"),
        "process.command_args": (str(code / "train.py"), "--key=***"),
        "process.executable.path": sys.executable,
        "process.working_directory": str(Path.cwd()),
        "process.owner": found["process.owner"],
        "process.runtime.name": "cpython",
        "process.runtime.version": platform.python_version(),
        "vcs.repository.url.full": "https://git.local/org/repo",
        "vcs.ref.head.revision": revision(code),
        "vcs.ref.head.name": "main",
        "vcs.ref.head.type": "branch",
        "tracelet.vcs.dirty": False,
        "tracelet.slurm.job.id": "7",
        "k8s.pod.name": "train-0",
        "k8s.container.name": "main",
    }


def test_the_code_is_left_out_where_it_is_not_wanted(monkeypatch, code):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "vcs.ref.head.revision=abc")
    assert [name for name in resource(track_git=False) if "vcs." in name] == []


def test_what_is_configured_counts_more_than_what_is_found_and_less_than_the_run(monkeypatch, code):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=x,vcs.ref.head.name=y,tracelet.run.name=z,a=b")
    found = resource()
    names = ("k8s.pod.name", "vcs.ref.head.name", "tracelet.run.name", "a")
    assert [found[name] for name in names] == ["x", "y", "name", "b"]


PARTS = [
    "scheduler_attributes",
    "kubernetes_attributes",
    "machine_attributes",
    "platform_attributes",
    "package_attributes",
    "cuda_attributes",
    "driver_attributes",
    "gpu_attributes",
    "vcs_attributes",
]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_fails_is_left_out_and_said(monkeypatch, caplog, code, part):
    whole = resource()

    def fail(*arguments):
        raise RuntimeError("broken")

    monkeypatch.setattr(f"tracelet_otel.resource.surroundings.{part}", fail)
    guard = Guard()
    found = run_resource("1", "name", "project", semconv.RANKS_MERGED, guard=guard).attributes
    assert set(found) <= set(whole)
    assert {"tracelet.run.id", "host.name", "process.pid"} <= set(found)
    assert sum(guard.counts.values()) == len(caplog.records) == 1


REMOTES = [
    f"https://{SECRET}@github.com/org/repo.git",
    f"https://ada:{SECRET}@github.com/org/repo.git",
    f"https://ada:{SECRET}@x@github.com/org/repo.git",
    f"https://ada:{SECRET}/x@github.com/org/repo.git",
    f"https://github.com/org/repo.git?access_token={SECRET}",
    f"https://github.com/org/repo.git#{SECRET}",
    f"ssh://ada:{SECRET}@github.com:22/org/repo.git",
    f"ada:{SECRET}@github.com:org/repo.git",
    f"{SECRET}@github.com/org/repo.git",
    f"git+https://{SECRET}@github.com/org/repo.git",
    f"s3://{SECRET}@bucket/repo",
]


@pytest.mark.parametrize("remote", REMOTES)
def test_no_credential_of_a_remote_reaches_a_tracker(tmp_path, code, remote):
    git(code, "remote", "set-url", "origin", remote)
    git(code, "remote", "set-url", "--push", "origin", remote)
    run = run_identity(resource())
    told = [str(run.attributes), str(resource_tags(run.attributes)), str(description(run))]
    assert SECRET not in "".join(told)
    assert revision(code) in told[0]


def test_identity_in_the_terms_of_trackers(code):
    run = run_identity(resource())
    tags = resource_tags(run.attributes)
    assert {name: tags[name] for name in tags if name.startswith("mlflow.source.git.")} == {
        "mlflow.source.git.commit": revision(code),
        "mlflow.source.git.branch": "main",
        "mlflow.source.git.repoURL": "https://git.local/org/repo",
    }
    assert description(run)["script"] == {
        "binary": "python",
        "entry_point": str(code / "train.py"),
        "repository": "https://git.local/org/repo",
        "branch": "main",
        "version_num": revision(code),
    }
    nothing = run_identity({semconv.RUN_ID: "1"})
    assert description(nothing)["script"] == {"binary": "python", "entry_point": ""}


def test_a_failing_name_of_the_user_is_left_out(monkeypatch):
    def fail():
        raise OSError("no such user")

    monkeypatch.setattr("getpass.getuser", fail)
    assert "process.owner" not in resource()


@pytest.mark.parametrize("script", ["", "-c", "-m", "absent.py", sysconfig.get_path("scripts") + "/pytest"])
def test_without_a_script_of_its_own_the_code_is_where_it_runs(tmp_path, monkeypatch, script):
    monkeypatch.setattr(sys, "argv", [script])
    assert list(code_directories()) == [tmp_path]


def test_a_script_that_is_linked_is_where_it_really_is(tmp_path, monkeypatch, code):
    (tmp_path / "link.py").symlink_to(code / "train.py")
    monkeypatch.setattr(sys, "argv", ["link.py"])
    assert list(code_directories()) == [code, tmp_path]
