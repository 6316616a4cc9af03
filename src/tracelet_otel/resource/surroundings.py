"""All that is known of where a process runs and on which code. Each part may fail without the others."""

from __future__ import annotations

import getpass
import platform
from collections.abc import Callable, Mapping

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.text import encodable
from tracelet_otel.resource.kubernetes import kubernetes_attributes
from tracelet_otel.resource.machine import machine_attributes
from tracelet_otel.resource.nvidia import cuda_attributes, driver_attributes, gpu_attributes
from tracelet_otel.resource.scheduler import scheduler_attributes
from tracelet_otel.resource.script import code_directories, script_name
from tracelet_otel.resource.software import package_attributes, platform_attributes
from tracelet_otel.resource.vcs import vcs_attributes

Value = str | int | bool | tuple[str, ...]
Attributes = Mapping[str, str] | Mapping[str, str | int] | Mapping[str, str | bool] | Mapping[str, tuple[str, ...]]


def surroundings(environment: Mapping[str, str], guard: Guard, git_patience_s: float | None) -> dict[str, Value]:
    """Resource attributes of scheduler, pod, machine, system, libraries and code; a part that fails is left out.

    Args:
        environment: environment variables of this process.
        guard: where errors are reported.
        git_patience_s: seconds that `git status` may take; None leaves out all attributes of the code.
    """
    parts: dict[str, Callable[[], Attributes]] = {
        "the scheduler": lambda: scheduler_attributes(environment),
        "the pod": lambda: kubernetes_attributes(environment),
        "the machine": machine_attributes,
        "the system": platform_attributes,
        "versions of libraries": package_attributes,
        "the version of CUDA": cuda_attributes,
        "the version of the GPU's driver": driver_attributes,
        "the models of GPUs": gpu_attributes,
    }
    if git_patience_s is not None:
        parts["the code"] = lambda: vcs_attributes(code_directories(), guard, git_patience_s)
    found: dict[str, Value] = {}
    for what, part in parts.items():
        try:
            found.update(part())
        except Exception as error:
            guard.report(f"{what} cannot be told", error)
    return found


def process_attributes() -> dict[str, str]:
    """Resource attributes of this process and its host that every run has."""
    return {
        semconv.HOST_NAME: encodable(platform.node()),
        semconv.PROCESS_COMMAND: encodable(script_name()),
        **_owner(),
    }


def _owner() -> dict[str, str]:
    try:
        return {semconv.PROCESS_OWNER: encodable(getpass.getuser())}
    except (OSError, KeyError):
        # The user id in a container need not have a name: then the attribute is absent.
        return {}
