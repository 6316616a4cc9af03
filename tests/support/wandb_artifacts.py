"""The artifacts of the stand-in for W&B's service: versions, which are told apart by their digests, and aliases."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

KIND = "artifact"
"""Beginning of the path of their uploads."""


@dataclass
class StoredVersion:
    """A version of an artifact."""

    number: int
    """From 0 on, in its collection."""
    type: str
    digest: str
    metadata: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    is_committed: bool = False


class StoredArtifacts:
    """The artifacts of all projects.

    Args:
        uri: address of the server.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self.collections: dict[str, list[StoredVersion]] = {}
        """Versions by name."""
        self.aliases: dict[tuple[str, str], StoredVersion] = {}
        """Of each name and alias the one version that has it."""
        self.refusal: int | None = None
        """Status with which new versions are refused."""

    def aliases_of(self, name: str, version: StoredVersion) -> set[str]:
        """The aliases that a version has."""
        return {alias for (of, alias), owner in self.aliases.items() if of == name and owner is version}

    def answer(self, operation: str, asked: dict[str, Any]) -> dict[str, Any] | None:
        """The data that answers a GraphQL operation; none where it is not one about artifacts."""
        given = asked.get("input") or {}
        artifact_id = str(asked.get("artifactID") or asked.get("artifactManifestID") or asked.get("id"))
        found: dict[str, Any]
        match operation:
            case "ArtifactType":
                versions = self.collections.get(asked["name"].partition(":")[0])
                found = {"project": {"artifact": {"artifactType": {"name": versions[0].type}} if versions else None}}
            case "CreateArtifact":
                found = {"createArtifact": {"artifact": self._create(given)}}
            case "CreateArtifactManifest" | "UpdateArtifactManifest":
                found = {operation[:1].lower() + operation[1:]: {"artifactManifest": self._manifest(artifact_id)}}
            case "CreateArtifactFiles":
                edges = [{"node": self._file(one)} for one in given["artifactFiles"]]
                found = {"createArtifactFiles": {"files": {"edges": edges}}}
            case "CommitArtifact":
                _, version = self._found(artifact_id)
                version.is_committed = True
                found = {"commitArtifact": {"artifact": {"id": artifact_id, "digest": version.digest}}}
            case "ArtifactByID":
                found = {"artifact": self._graphql(artifact_id)}
            case _:
                return None
        return found

    def upload(self, path: list[str], body: bytes) -> int:
        """Take what is uploaded to one of the addresses that `answer` has given; returns the status."""
        _, version = self._found(path[0])
        if path[1] == "manifest":
            version.manifest = json.loads(body)
        else:
            version.files["/".join(path[2:])] = body
        return 200

    def _create(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["artifactCollectionName"]
        versions = self.collections.setdefault(name, [])
        version = next((one for one in versions if one.digest == given["digest"]), None)
        if version is None:
            metadata = json.loads(given["metadata"] or "{}")
            version = StoredVersion(len(versions), given["artifactTypeName"], given["digest"], metadata)
            versions.append(version)
        self.aliases.update({(name, one["alias"]): version for one in given["aliases"]})
        latest = {"id": f"{name}:v{len(versions) - 2}"} if len(versions) > 1 else None
        state = "COMMITTED" if version.is_committed else "PENDING"
        return {"id": f"{name}:v{version.number}", "state": state, "artifactSequence": {"latestArtifact": latest}}

    def _found(self, artifact_id: str) -> tuple[str, StoredVersion]:
        name, _, number = artifact_id.partition(":v")
        return name, self.collections[name][int(number)]

    def _manifest(self, artifact_id: str) -> dict[str, Any]:
        url = f"{self._uri}/{KIND}/{quote(artifact_id)}/manifest"
        return {"id": artifact_id, "file": {"id": artifact_id, "uploadUrl": url, "uploadHeaders": []}}

    def _file(self, given: dict[str, Any]) -> dict[str, Any]:
        place = f"{KIND}/{quote(given['artifactID'])}/file/{quote(given['name'])}"
        upload: dict[str, Any] = {"uploadUrl": f"{self._uri}/{place}", "uploadHeaders": [], "uploadMultipartUrls": None}
        return {"storagePath": place, "artifact": {"id": given["artifactID"]}, **upload}

    def _graphql(self, artifact_id: str) -> dict[str, Any]:
        name, version = self._found(artifact_id)
        sequence = {"__typename": "ArtifactSequence", "name": name, "project": None}
        size = sum(len(content) for content in version.files.values())
        nothing: dict[str, Any] = {
            "description": None,
            "ttlDurationSeconds": -1,
            "ttlIsInherited": False,
            "tags": [],
            "aliases": [],
        }
        return {
            "__typename": "Artifact",
            "id": artifact_id,
            "artifactSequence": sequence,
            "versionIndex": version.number,
            "artifactType": {"name": version.type},
            "metadata": json.dumps(version.metadata),
            "historyStep": None,
            "state": "COMMITTED",
            "size": size,
            "digest": version.digest,
            "commitHash": "hash",
            "fileCount": len(version.files),
            "createdAt": "2026-01-01T00:00:00Z",
            "updatedAt": None,
            "tags": [],
            "aliases": [],
            **nothing,
        }
