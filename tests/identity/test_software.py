"""Versions, as far as they are known without importing or initialising anything."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from importlib.machinery import PathFinder
from types import SimpleNamespace

import pytest

from tracelet_otel.resource.machine import machine_attributes
from tracelet_otel.resource.nvidia import cuda_attributes, driver_attributes, gpu_attributes
from tracelet_otel.resource.software import package_attributes, platform_attributes

GCC = "GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)\n"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\n{GCC}",
            "535.129.03",
        ),
        (
            f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build  (a@b)\n{GCC}",
            "550.54.15",
        ),
        (f"NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.82.07  Release Build\n{GCC}", "580.82.07"),
        (GCC, None),
        ("", None),
    ],
)
def test_the_driver_by_what_its_module_says(tmp_path, text, version):
    file = tmp_path / "version"
    file.write_text(text)
    assert driver_attributes(file) == ({} if version is None else {"tracelet.gpu.driver_version": version})


def test_without_a_driver(tmp_path):
    assert driver_attributes(tmp_path / "version") == {}


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("cuda: Optional[str] = '12.8'", "12.8"),
        ("cuda = '11.8'", "11.8"),
        ('cuda: str | None = "13.0"', "13.0"),
        ("cuda: Optional[str] = None", None),
        ("hip = '6.2'", None),
    ],
)
def test_cuda_of_a_torch_that_is_installed_and_not_imported(tmp_path, monkeypatch, line, version):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / "torch" / "version.py").write_text(f"from typing import Optional\n__version__ = '2.9.0'\n{line}\n")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert cuda_attributes() == ({} if version is None else {"tracelet.cuda.version": version})
    assert "torch" not in sys.modules


@pytest.mark.parametrize(("cuda", "attributes"), [("12.8", {"tracelet.cuda.version": "12.8"}), (None, {})])
def test_cuda_of_a_torch_that_is_imported(monkeypatch, cuda, attributes):
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(version=SimpleNamespace(cuda=cuda)))
    assert cuda_attributes() == attributes


def test_no_torch_has_no_cuda(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [PathFinder])
    assert cuda_attributes() == {}


@pytest.mark.parametrize(
    ("installed", "attributes"),
    [
        ({}, {}),
        ({"torch": "2.9.0+cu128"}, {"tracelet.torch.version": "2.9.0+cu128"}),
        ({"lightning": "2.6", "pytorch-lightning": "2.5"}, {"tracelet.lightning.version": "2.6"}),
        ({"pytorch-lightning": "2.5.2"}, {"tracelet.lightning.version": "2.5.2"}),
    ],
)
def test_versions_of_what_is_installed(monkeypatch, installed, attributes):
    def version(package):
        if package not in installed:
            raise importlib.metadata.PackageNotFoundError(package)
        return installed[package]

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert package_attributes() == attributes


@pytest.mark.parametrize(
    ("system", "machine", "attributes"),
    [
        ("Linux", "x86_64", {"os.type": "linux", "os.version": "6.8.0-generic", "host.arch": "amd64"}),
        ("Darwin", "arm64", {"os.type": "darwin", "os.version": "6.8.0-generic", "host.arch": "arm64"}),
        ("Windows", "AMD64", {"os.type": "windows", "os.version": "10.0.26100", "host.arch": "amd64"}),
        ("Linux", "riscv64", {"os.type": "linux", "os.version": "6.8.0-generic", "host.arch": "riscv64"}),
        ("", "", {"os.version": "6.8.0-generic"}),
    ],
)
def test_the_system_and_python(monkeypatch, system, machine, attributes):
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "release", lambda: "6.8.0-generic")
    monkeypatch.setattr(platform, "version", lambda: "10.0.26100")
    python = {"process.runtime.name": "cpython", "process.runtime.version": platform.python_version()}
    assert platform_attributes() == {**attributes, **python}


def test_the_models_of_gpus_by_what_the_driver_says(tmp_path):
    assert gpu_attributes(tmp_path / "absent") == {}
    for place, text in {
        "0000:07:00.0": "Model: \t\t NVIDIA H200\nIRQ:   \t\t 16\nGPU UUID: \t GPU-1\n",
        "0000:0f:00.0": "IRQ: 17\n",
        "0000:47:00.0": "Model: \t\t NVIDIA A100-SXM4-40GB \n",
    }.items():
        (tmp_path / place).mkdir()
        (tmp_path / place / "information").write_text(text)
    assert gpu_attributes(tmp_path) == {"tracelet.gpu.models": ("NVIDIA H200", "NVIDIA A100-SXM4-40GB")}


def test_the_machine_as_far_as_it_is_known(tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Some  Processor @ 2 GHz\nstepping\t: 1\n")
    monkeypatch.setattr("psutil.cpu_count", lambda logical=True: 8 if logical else None)
    found = machine_attributes(file)
    assert found.pop("tracelet.host.memory.size") > 0
    assert found == {"tracelet.host.cpu.logical_count": 8, "host.cpu.model.name": "Some  Processor @ 2 GHz"}
    assert "host.cpu.model.name" not in machine_attributes(tmp_path / "absent")
