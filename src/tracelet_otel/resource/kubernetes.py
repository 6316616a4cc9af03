"""Which Kubernetes pod a process runs in, from environment variables that the pod's manifest sets.

Only the variables listed here are read: the environment of a pod also holds its secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tracelet_otel import semconv
from tracelet_otel._support.text import encodable

_VARIABLES: Final = {
    # HOSTNAME is the pod's name, unless the pod uses the network of its node.
    semconv.K8S_POD_NAME: ("K8S_POD_NAME", "POD_NAME", "MY_POD_NAME", "HOSTNAME"),
    semconv.K8S_POD_UID: ("K8S_POD_UID", "POD_UID", "MY_POD_UID"),
    semconv.K8S_NAMESPACE_NAME: (
        "K8S_NAMESPACE_NAME",
        "K8S_NAMESPACE",
        "K8S_POD_NAMESPACE",
        "POD_NAMESPACE",
        "MY_POD_NAMESPACE",
    ),
    semconv.K8S_NODE_NAME: ("K8S_NODE_NAME", "NODE_NAME", "MY_NODE_NAME"),
    semconv.K8S_CONTAINER_NAME: ("K8S_CONTAINER_NAME", "CONTAINER_NAME", "MY_CONTAINER_NAME"),
    # Not JOB_NAME, which build servers set.
    semconv.K8S_JOB_NAME: ("K8S_JOB_NAME", "MY_JOB_NAME"),
    semconv.K8S_JOB_UID: ("K8S_JOB_UID", "JOB_UID", "MY_JOB_UID"),
    # Kubernetes itself sets this one, in pods of a job with `completionMode: Indexed`.
    semconv.K8S_JOB_COMPLETION_INDEX: ("JOB_COMPLETION_INDEX",),
}
"""Names in use for variables that the downward API sets; those with `MY_` are from Kubernetes' documentation.

The first variable that is set counts.
"""
NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def kubernetes_attributes(environment: Mapping[str, str], namespace_file: Path = NAMESPACE_FILE) -> dict[str, str]:
    """Resource attributes of the pod; empty outside of Kubernetes.

    Args:
        environment: environment variables of this process.
        namespace_file: file with the pod's namespace. Kubernetes mounts it into containers that may use its API.
    """
    if not environment.get("KUBERNETES_SERVICE_HOST"):
        return {}
    found: dict[str, str] = {}
    for attribute, variables in _VARIABLES.items():
        value = next((environment[variable] for variable in variables if environment.get(variable)), "")
        if value:
            found[attribute] = encodable(value)
    if semconv.K8S_NAMESPACE_NAME not in found and namespace_file.is_file():
        namespace = namespace_file.read_text(encoding="utf-8", errors="surrogateescape").strip()
        if namespace:
            found[semconv.K8S_NAMESPACE_NAME] = encodable(namespace)
    return found
