"""Which pod a process runs in, from variables that a pod's description hands down.

Only what is named here is read: the environment of a pod also holds its secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tracelet_otel import semconv
from tracelet_otel._support.text import encodable

_VARIABLES: Final = {
    # A pod's host has the pod's name, unless it uses the network of its node.
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
}
"""Names in use for what the downward API hands down; those with `MY_` are of Kubernetes' documentation."""
NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def kubernetes_attributes(environment: Mapping[str, str], namespace_file: Path = NAMESPACE_FILE) -> dict[str, str]:
    """Resource attributes of the pod; none outside of Kubernetes.

    Args:
        environment: this process's variables.
        namespace_file: what Kubernetes puts into a container that may use its API.
    """
    if not environment.get("KUBERNETES_SERVICE_HOST"):
        return {}
    found: dict[str, str] = {}
    for attribute, variables in _VARIABLES.items():
        named = next((environment[variable] for variable in variables if environment.get(variable)), "")
        if named:
            found[attribute] = encodable(named)
    if semconv.K8S_NAMESPACE_NAME not in found and namespace_file.is_file():
        namespace = namespace_file.read_text(encoding="utf-8", errors="surrogateescape").strip()
        if namespace:
            found[semconv.K8S_NAMESPACE_NAME] = encodable(namespace)
    return found
