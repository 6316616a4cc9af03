"""What W&B's page says of where a run has run: program, arguments, system, hardware, code.

W&B's client would describe its own process, which is that of the relay. So that is turned off, and the same record is
made of the run's resource attributes. W&B keeps it as `wandb-metadata.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import ParseDict

from tracelet_otel import semconv
from tracelet_otel.protocol.run_identity import RunIdentity

if TYPE_CHECKING:
    import wandb

_FIELDS: Final = {
    "host": semconv.HOST_NAME,
    "username": semconv.PROCESS_OWNER,
    "executable": semconv.PROCESS_EXECUTABLE_PATH,
    "root": semconv.PROCESS_WORKING_DIRECTORY,
    "cpu_count": semconv.HOST_CPU_COUNT,
    "cpu_count_logical": semconv.HOST_CPU_LOGICAL_COUNT,
}
"""Fields of W&B's record, with their resource attributes."""
_SLURM: Final = {
    "job_id": semconv.SLURM_JOB_ID,
    "job_name": semconv.SLURM_JOB_NAME,
    "job_partition": semconv.SLURM_JOB_PARTITION,
    "job_num_nodes": semconv.SLURM_JOB_NUM_NODES,
    "cluster_name": semconv.SLURM_CLUSTER_NAME,
}
_SYSTEMS: Final = {"linux": "Linux", "darwin": "macOS", "windows": "Windows"}
_PYTHONS: Final = {"cpython": "CPython", "pypy": "PyPy"}
_NO_SCRIPT: Final = "python"
"""Command of a process that runs no script."""


def publish_environment(begun: wandb.Run, identity: RunIdentity) -> None:
    """Tell W&B where a run runs. Telling it again replaces what was told.

    Args:
        begun: the run in W&B's client.
        identity: the run.
    """
    from wandb.proto import wandb_internal_pb2

    messages: Any = wandb_internal_pb2  # made at run time, without types
    found = environment_of(identity.attributes)
    if not found or begun._interface is None:
        return
    # A version of W&B's client may have no such field.
    record = ParseDict(found, messages.EnvironmentRecord(), ignore_unknown_fields=True)
    if identity.start_unix_nano is not None:
        record.started_at.FromNanoseconds(identity.start_unix_nano)
    begun._interface.publish_environment(record)


def environment_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of W&B's record, as far as they are known; pure.

    Args:
        attributes: resource attributes of the run.
    """
    given = attributes.get
    models = list(given(semconv.GPU_MODELS, ()))
    system, python = str(given(semconv.OS_TYPE, "")), str(given(semconv.PROCESS_RUNTIME_NAME, ""))
    system, python = _SYSTEMS.get(system, system), _PYTHONS.get(python, python)
    cpu = {
        "count": given(semconv.HOST_CPU_COUNT),
        "count_logical": given(semconv.HOST_CPU_LOGICAL_COUNT),
        "model": given(semconv.HOST_CPU_MODEL),
    }
    found = {
        **{field: given(name) for field, name in _FIELDS.items()},
        **_program(attributes),
        "os": _joined("-", system, given(semconv.OS_VERSION), given(semconv.HOST_ARCH)),
        "python": _joined(" ", python, given(semconv.PROCESS_RUNTIME_VERSION)),
        "git": _known({"remote_url": given(semconv.VCS_REPOSITORY_URL), "commit": given(semconv.VCS_REVISION)}),
        "cpu": _known(cpu),
        "memory": _known({"total": given(semconv.HOST_MEMORY_SIZE)}),
        "gpu_count": len(models),
        "gpu_type": models[0] if models else None,
        "gpu_nvidia": [{"name": model} for model in models],
        "slurm": {field: str(given(name)) for field, name in _SLURM.items() if name in attributes},
    }
    return _known(found)


def _program(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The script and its arguments."""
    command, root = attributes.get(semconv.PROCESS_COMMAND), attributes.get(semconv.PROCESS_WORKING_DIRECTORY)
    found: dict[str, Any] = {"args": list(attributes.get(semconv.PROCESS_COMMAND_ARGS, ()))[1:]}
    if command in (None, _NO_SCRIPT):
        return found
    program = PurePath(root or "", command)
    path = str(program.relative_to(root)) if root and program.is_relative_to(root) else str(command)
    return {**found, "program": str(program), "code_path": path, "code_path_local": path}


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def _joined(between: str, *parts: Any) -> str:
    return between.join(str(part) for part in parts if part)
