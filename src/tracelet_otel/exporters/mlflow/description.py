"""The description of a run on its page in MLflow: the run's note, and below it how the run ended. Pure.

People edit a description in MLflow's page. What they have written stays: where the description is not what we wrote
last, only our own paragraphs are changed in it, and those that they deleted do not come back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from tracelet_otel import semconv
from tracelet_otel._support.text import duration, number
from tracelet_otel.exporters.mlflow.extremes import Extreme
from tracelet_otel.exporters.mlflow.mapping import (
    MAX_TAG_LENGTH,
    NOTE_TAG,
    RESOURCE_PREFIX,
    TRACEBACK_TAG,
    WELL_KNOWN_TAGS,
    storable,
)
from tracelet_otel.protocol.failure import FAILURE_FILE
from tracelet_otel.protocol.main_metrics import main_metrics

WRITTEN_TAGS: Final = ("mlflow.tracelet.note", "mlflow.tracelet.summary")
"""Tags that keep what we wrote last into a description, by which changes of others are known: note, and summary."""

TRAINING_PAGE: Final = "?workflowType=machine_learning"
"""Behind the address of a run: its page is that of model training, whatever the browser has shown last."""

_MOST_METRICS: Final = 10


def described(tags: Mapping[str, str], note: str | None, summary: str) -> dict[str, str]:
    """Tags to set, so that the description has a note and a summary.

    Args:
        tags: tags that the run has now.
        note: the run's note; None for the one that it has.
        summary: how the run ended; empty while it goes on.
    """
    written = [tags.get(tag, "") for tag in WRITTEN_TAGS]
    wanted = [storable(written[0] if note is None else note, MAX_TAG_LENGTH), storable(summary, MAX_TAG_LENGTH)]
    found = tags.get(NOTE_TAG, "")
    text = _joined(wanted) if found == _joined(written) else _merged(found, written, wanted)
    return {NOTE_TAG: text, **dict(zip(WRITTEN_TAGS, wanted, strict=True))}


def _joined(parts: Iterable[str]) -> str:
    return storable("\n\n".join(filter(None, parts)), MAX_TAG_LENGTH)


def _merged(found: str, written: Iterable[str], wanted: Iterable[str]) -> str:
    """A description that others have edited, with our paragraphs as they are now."""
    old, new, theirs = _joined(written).split("\n\n"), _joined(wanted).split("\n\n"), found.split("\n\n")
    kept = [one for one in theirs if one not in old or one in new]
    added = [one for one in new if one not in old and one not in theirs]
    return storable("\n\n".join([*(kept if found else []), *added]), MAX_TAG_LENGTH)


def summary(
    outcome: str | None,
    took_ms: int | None,
    latest: Mapping[str, float],
    extremes: Mapping[str, Extreme],
    links: Iterable[str],
) -> str:
    """How a run ended, in Markdown.

    Whether low or high is good is not known, so both are shown.

    Args:
        outcome: one of `semconv.OUTCOMES`; anything else means that nobody knows how it ended.
        took_ms: time from start to end, in milliseconds; None where it is not known.
        latest: the last value of each metric, by its key.
        extremes: those that are known, by key.
        links: links in Markdown.
    """
    ended = outcome.capitalize() if outcome in semconv.OUTCOMES else "Killed or lost"
    after = "" if took_ms is None else f" after {duration(took_ms / 1000)}"
    line = " · ".join([f"**{ended}**{after}", *links])
    return "\n\n".join(filter(None, (line, "\n".join(_values(latest, extremes)))))


def _values(latest: Mapping[str, float], extremes: Mapping[str, Extreme]) -> Iterator[str]:
    keys = main_metrics(latest)
    for key in keys[:_MOST_METRICS]:
        one = extremes.get(key)
        # A list, since MLflow's page shows a table without room between its columns.
        found = [f"last {number(latest[key])}"]
        if one is not None:
            found.append(f"lowest {number(one.lowest)} (step {one.lowest_step})")
            found.append(f"highest {number(one.highest)} (step {one.highest_step})")
        yield f"- `{key}`: {', '.join(found)}"
    if len(keys) > _MOST_METRICS:
        yield f"- and {len(keys) - _MOST_METRICS} more"


def links(tags: Mapping[str, str], experiment_id: str, run_id: str) -> list[str]:
    """Links of a run: to its code, to where its time went, and to why it failed.

    Args:
        tags: tags of the run.
        experiment_id: MLflow's id of the experiment.
        run_id: MLflow's id of the run.
    """
    page = f"#/experiments/{experiment_id}/runs/{run_id}"
    found = []
    url = tags.get(WELL_KNOWN_TAGS[semconv.VCS_REPOSITORY_URL], "")
    revision = tags.get(WELL_KNOWN_TAGS[semconv.VCS_REVISION], "")
    if url.startswith(("http://", "https://")) and revision:
        # The form of GitHub, GitLab, Gitea and others; Bitbucket has another one.
        commit = "commits" if "bitbucket" in url else "commit"
        changed = tags.get(RESOURCE_PREFIX + semconv.VCS_DIRTY) == str(True)
        found.append(f"[code {revision[:7]}]({url}/{commit}/{revision}){' with changes' if changed else ''}")
    if semconv.VERDICT in tags:
        found.append(f"[where the time went]({page}/traces{TRAINING_PAGE})")
    if TRACEBACK_TAG in tags:
        found.append(f"[why it failed]({page}/artifacts/{FAILURE_FILE}{TRAINING_PAGE})")
    return found
