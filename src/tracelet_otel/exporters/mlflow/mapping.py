"""Pure translation of names and outcomes into MLflow's terms.

Source of the rules: `mlflow.utils.validation` and Lightning's `MLFlowLogger`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tracelet_otel import semconv
from tracelet_otel._support.text import shortened
from tracelet_otel.exporters.names import Names, with_hash
from tracelet_otel.exporters.words import as_text
from tracelet_otel.protocol.decode import Reading
from tracelet_otel.protocol.failure import STACKTRACE_TAG

MAX_KEY_LENGTH: Final = 250
MAX_TAG_LENGTH: Final = 8000
MAX_PARAM_LENGTH: Final = 6000
EXACT_NAME_TAG: Final = "tracelet.metric.name."
"""Prefix of the tag that keeps a changed metric name as it was logged."""

NOTE_TAG: Final = "mlflow.note.content"
"""The tag that MLflow shows as a run's description. Source: `mlflow.utils.mlflow_tags`."""
TRACEBACK_TAG: Final = f"mlflow.{STACKTRACE_TAG}"
"""MLflow's pages do not show it: a traceback would push all other tags from the first screen, and is a file as well."""
_OWN_KEYS: Final = {semconv.NOTE: NOTE_TAG, STACKTRACE_TAG: TRACEBACK_TAG}
"""Keys of tags that have a place of their own, by name."""

_INFINITIES_PER_TAG: Final = 100
_LONGEST_CHANGED_NAME: Final = MAX_KEY_LENGTH - len(EXACT_NAME_TAG)

STATUS: Final = {semconv.OUTCOME_FINISHED: "FINISHED", semconv.OUTCOME_FAILED: "FAILED"}
"""MLflow's run status by outcome; KILLED for every other and for none."""

WELL_KNOWN_TAGS: Final = {
    semconv.PROCESS_OWNER: "mlflow.user",
    semconv.PROCESS_COMMAND: "mlflow.source.name",
    semconv.VCS_REVISION: "mlflow.source.git.commit",
    semconv.VCS_REF_NAME: "mlflow.source.git.branch",
    semconv.VCS_REPOSITORY_URL: "mlflow.source.git.repoURL",
}
"""MLflow's own tags by resource attribute; its pages show some of them. Source: `mlflow.utils.mlflow_tags`."""

RESOURCE_PREFIX: Final = "mlflow.resource."
"""Prefix of the tags that keep resource attributes. MLflow's pages do not show tags that begin with `mlflow.`."""
_SHOWN: Final = (
    semconv.RUN_ID,
    semconv.RUN_GROUP,
    semconv.RUN_JOB_TYPE,
    semconv.HOST_NAME,
    semconv.SLURM_JOB_ID,
)
"""Resource attributes that are tags under their own names: what people look for, and by what we find a run."""


def metric_names(known: Mapping[str, str] | None = None) -> Names:
    """Keys for names of metrics or hyperparameters: what `MLFlowLogger` makes of them, but never the same for two.

    Args:
        known: exact names by key, from an earlier part of the same run.
    """
    return Names(valid_key, _LONGEST_CHANGED_NAME, known)


def valid_key(name: str) -> str:
    """A valid MLflow key for a name: characters that MLflow does not allow are left out."""
    key = re.sub(r"[^a-zA-Z0-9_/. -]+", "", name)
    # MLflow requires a normalized relative path, because file stores used the key as one.
    key = "/".join(part for part in key.split("/") if part not in ("", ".", ".."))
    if key.startswith(".."):
        key = key.lstrip("./")
    if not key:
        return with_hash("metric", name, _LONGEST_CHANGED_NAME)
    if len(key) > MAX_KEY_LENGTH or (key != name and len(key) > _LONGEST_CHANGED_NAME):
        return with_hash(key, name, _LONGEST_CHANGED_NAME)
    return key


def tag_key(name: str) -> str:
    """The key of a tag of the run: its name, with a hash where MLflow does not allow that; some have other places."""
    if name in _OWN_KEYS:
        return _OWN_KEYS[name]
    key = valid_key(name)
    return key if key == name else with_hash(key, name, MAX_KEY_LENGTH)


def exact_name_tags(keys_by_name: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Tags that keep the exact name of each metric whose key differs, from pairs (name, key)."""
    return {EXACT_NAME_TAG + key: storable(name, MAX_TAG_LENGTH) for name, key in keys_by_name if key != name}


def exact_names(tags: Mapping[str, str], metric_keys: Iterable[str]) -> dict[str, str]:
    """Exact names by key, of a run that is continued."""
    return {key: tags.get(EXACT_NAME_TAG + key, key) for key in metric_keys}


class Infinities:
    """Signs and steps of one metric's infinite values, as the text of a tag.

    A reading that is sent again is noted only once.

    Args:
        earlier: text of the tag in a run that is continued.
    """

    def __init__(self, earlier: str = "") -> None:
        self._earlier = earlier
        self._noted: dict[tuple[int, int], str] = {}
        self._more = 0
        self._last = (0, 0)

    def add(self, reading: Reading) -> None:
        """Note an infinite value."""
        place = (reading.step, reading.time_unix_nano)
        if place in self._noted or (self._more and place <= self._last):
            return
        self._last = place
        if len(self._noted) < _INFINITIES_PER_TAG:
            self._noted[place] = f"{'+Inf' if reading.value > 0 else '-Inf'} at step {reading.step}"
        else:
            self._more += 1

    @property
    def text(self) -> str:
        """Text of the tag."""
        noted = ", ".join(self._noted.values()) + (f" and {self._more} more" if self._more else "")
        return storable(f"{self._earlier}, {noted}" if self._earlier else noted, MAX_TAG_LENGTH)


def storable(text: str, length: int) -> str:
    """A text that MLflow can store: without lone surrogates, and cut to a length with an ellipsis at its end."""
    return shortened(text.encode("utf-8", "replace").decode(), length)


def resource_tags(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Tags for resource attributes: few under their own names, all others behind a prefix; some also as MLflow's."""
    tags = {
        valid_key(name if name in _SHOWN else RESOURCE_PREFIX + name): storable(as_text(name, value), MAX_TAG_LENGTH)
        for name, value in attributes.items()
    }
    for attribute, tag in WELL_KNOWN_TAGS.items():
        if attribute in attributes:
            tags[tag] = storable(str(attributes[attribute]), MAX_TAG_LENGTH)
    command = attributes.get(semconv.PROCESS_COMMAND_ARGS, ())
    if len(command) > 1:
        # MLflow has a place for the script only.
        tags[semconv.PROCESS_COMMAND_LINE] = storable(as_text(semconv.PROCESS_COMMAND_ARGS, command), MAX_TAG_LENGTH)
    return {**tags, "mlflow.source.type": "LOCAL"}


def short_params(params: Mapping[str, str]) -> dict[str, str]:
    """Settings of the first optimizer under the names that `mlflow.pytorch.autolog` gives them.

    Args:
        params: all params of the run, by key. One that has such a name already is somebody's own, and stays.
    """
    settings = {
        key.removeprefix(semconv.OPTIMIZER_PARAMS): value
        for key, value in params.items()
        if key.startswith(semconv.OPTIMIZER_PARAMS)
    }
    short = {("optimizer_name" if name == "name" else name): value for name, value in settings.items()}
    return {name: value for name, value in short.items() if name not in params}
