"""Pure translation of readings, names and identity into ClearML's terms.

Source of the rules: ClearML's TensorBoard binding (`tag_splitter`), and its server's source for limits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from tracelet_otel import semconv
from tracelet_otel.exporters.names import key_apart
from tracelet_otel.exporters.words import as_text, with_tags
from tracelet_otel.protocol.decode import Param, Reading
from tracelet_otel.protocol.failure import Failure
from tracelet_otel.protocol.run_identity import RunIdentity

GENERAL: Final = "General"
"""The section of hyperparameters that people look at first."""
ARGUMENTS: Final = "Args"
"""The section of command line arguments, as ClearML's client names it."""
PROPERTIES: Final = "properties"
"""The section of user properties."""
SCALAR: Final = "training_stats_scalar"
"""Type of an event that is a reading."""
EXACT_NAME: Final = f"{semconv.METRIC_NAME}."
"""Prefix of the property that keeps a changed metric name as it was logged, followed by title/series."""

MONITOR_GPU: Final = ":monitor:gpu"
MONITOR_MACHINE: Final = ":monitor:machine"
_GPU: Final = re.compile(r"(^|/)gpu_\d+_")
_GIB_PER_MB: Final = 1e6 / 2**30
_MONITOR: Final = {
    "cpu_utilization_percentage": ("cpu_usage", 1.0),
    "system_memory_usage_megabytes": ("memory_used_gb", _GIB_PER_MB),
    "system_memory_usage_percentage": ("memory_usage", 1.0),
    "process_memory_usage_megabytes": ("process_memory_used_gb", _GIB_PER_MB),
    "memory_usage_percentage": ("mem_usage", 1.0),
    "memory_usage_megabytes": ("mem_used_gb", _GIB_PER_MB),
    "utilization_percentage": ("utilization", 1.0),
    "temperature_celsius": ("temperature", 1.0),
}
"""Names in ClearML's resource monitor by the endings of ours, longer ones first, and the factor to its unit."""
_SCRIPT: Final = {
    "repository": semconv.VCS_REPOSITORY_URL,
    "branch": semconv.VCS_REF_NAME,
    "version_num": semconv.VCS_REVISION,
}
"""Fields of a task's script, with their resource attributes. Source: `Script` in `clearml.backend_api.services`."""
_OPTION: Final = re.compile(r"--?[A-Za-z]")
_LARGEST: Final = 3.4028234663852886e38
"""The largest value that the server's index can hold: a float of 32 bits."""
_SHORTEST_NAME: Final = 3
_LONGEST: Final = 250


class Graph(NamedTuple):
    """Title and series under which ClearML draws a metric."""

    title: str
    series: str

    @property
    def key(self) -> str:
        """The server's key for it: it takes two graphs with the same key for one."""
        return f"{self.title}-{self.series}"

    @property
    def path(self) -> str:
        """Its form in the names of user properties."""
        return f"{self.title}/{self.series}"


class Graphs:
    """Graphs for names of metrics, never the same one for two names.

    Args:
        known: exact names by graph, from an earlier part of the same task.
    """

    def __init__(self, known: Mapping[Graph, str] | None = None) -> None:
        self._known = {name: graph for graph, name in (known or {}).items()}
        self._holders = {graph.key: (name, False) for graph, name in (known or {}).items()}
        self._graphs: dict[tuple[str, bool], Graph] = {}

    def graph(self, name: str, *, is_system: bool = False) -> Graph:
        """The graph for an exact name; always the same one.

        Args:
            name: as logged.
            is_system: whether it is a reading of GPU or host: these have the graphs of ClearML's resource monitor.
        """
        holder = name, is_system
        graph = self._graphs.get(holder)
        if graph is None:
            wanted = system_graph(name) if is_system else graph_of(name)
            # In a task that is continued, readings of GPU and host are known by their graph only.
            graph = self._known.pop(wanted.path if is_system else name, None) or self._free(wanted, holder)
            self._graphs[holder], self._holders[graph.key] = graph, holder
        return graph

    def _free(self, wanted: Graph, holder: tuple[str, bool]) -> Graph:
        if self._holders.get(wanted.key, holder) == holder:
            return wanted
        return Graph(wanted.title, key_apart(wanted.series, holder, _LONGEST))


def system_graph(name: str) -> Graph:
    """The graph in which ClearML's own resource monitor draws a reading of GPU or host."""
    quantity = name.removeprefix(semconv.SYSTEM_PREFIX).replace("/", "_")
    ours, theirs, _ = _monitored(name)
    return Graph(MONITOR_GPU if _GPU.search(name) else MONITOR_MACHINE, f"{quantity.removesuffix(ours)}{theirs}")


def _monitored(name: str) -> tuple[str, str, float]:
    """The ending of a reading's name, that in ClearML's monitor, and the factor to the monitor's unit."""
    found = ((ours, theirs, factor) for ours, (theirs, factor) in _MONITOR.items() if name.endswith(ours))
    return next(found, ("", "", 1.0))


def graph_of(name: str) -> Graph:
    """Title and series as ClearML's TensorBoard binding gives them."""
    *title, series = name.split("/")
    return Graph("_".join(title) or name or "metric", series or "value")


def exact_name_properties(names: Mapping[Graph, str]) -> dict[str, str]:
    """User properties that keep each exact name that does not follow from title and series, from names by graph."""
    return {
        EXACT_NAME + graph.path: name
        for graph, name in names.items()
        if name != (graph.title if graph.title == graph.series else graph.path)
    }


def known_graphs(points: Iterable[Graph], properties: Mapping[str, str]) -> dict[Graph, str]:
    """Exact names by graph, of a task that is continued."""
    known: dict[Graph, str] = {}
    for graph in points:
        plain = graph.title if graph.title == graph.series else graph.path
        known[graph] = properties.get(EXACT_NAME + graph.path, plain)
    return known


def refusal(reading: Reading) -> str | None:
    """Why a reading cannot be stored; None where it can."""
    if not math.isfinite(reading.value):
        return "ClearML would store 0 for NaN and infinities"
    return None if abs(reading.value) <= _LARGEST else f"ClearML stores 32 bits, and {reading.value:g} is beyond them"


def event(reading: Reading, graph: Graph, task_id: str) -> dict[str, Any]:
    """A reading as the server's API takes it, and as a line of an offline session."""
    return {
        "type": SCALAR,
        "task": task_id,
        "metric": graph.title,
        "variant": graph.series,
        "iter": reading.step,
        "value": reading.value * (_monitored(reading.name)[2] if reading.is_system else 1),
        "timestamp": reading.time_unix_nano // 1_000_000,
    }


def items(section: str, values: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Hyperparameters or properties by name, as the server keeps them."""
    made: dict[str, dict[str, str]] = {}
    for name, value in values.items():
        param = value if isinstance(value, Param) else Param(as_text(name, value))
        typed = {"type": param.type} if param.type else {}
        made[name] = {"section": section, "name": name, "value": param.text, **typed}
    return made


def description(run: RunIdentity) -> dict[str, Any]:
    """The fields of a new task, without its project."""
    arguments = arguments_by_name(run.attributes.get(semconv.PROCESS_COMMAND_ARGS, ())[1:])
    return {
        "name": long_enough(run.run_name),
        "type": "training",
        "script": {
            "binary": "python",
            "entry_point": str(run.attributes.get(semconv.PROCESS_COMMAND, "")),
            **{name: str(run.attributes[known]) for name, known in _SCRIPT.items() if known in run.attributes},
        },
        "hyperparams": {
            PROPERTIES: items(PROPERTIES, run.attributes),
            **({ARGUMENTS: items(ARGUMENTS, arguments)} if arguments else {}),
        },
    }


def arguments_by_name(arguments: Iterable[str]) -> dict[str, str]:
    """The arguments of a command line by name, as far as their form tells it.

    A value may be behind `=`, or in the arguments up to the next option; an option without one is `True`. What belongs
    to no option has its number as its name, from 1.

    Args:
        arguments: the arguments, without the script.
    """
    values: dict[str, list[str]] = {}
    option, number = "", 0
    for argument in arguments:
        name, equals, value = argument.partition("=")
        plain = name.lstrip("-")
        if plain and (equals or _OPTION.match(argument)):
            values.setdefault(plain, []).extend([value] if equals else [])
            option = "" if equals else plain
        elif option:
            values[option].append(argument)
        else:
            number += 1
            values[str(number)] = [argument]
    return {name: " ".join(found) if found else "True" for name, found in values.items()}


def described(words: Iterable[str], tags: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a task that tags of its run change.

    Args:
        words: the tags that the task has.
        tags: tags of the run, its note among them.
    """
    note = {"comment": tags[semconv.NOTE]} if semconv.NOTE in tags else {}
    return {"tags": with_tags(words, tags), **note}


def status_of(outcome: str | None, failure: Failure | None) -> dict[str, str]:
    """The fields of a task that say why it has its final status.

    Args:
        outcome: outcome of the run; None where nothing was reported.
        failure: why it failed, or was ended; None where it was not, or nothing is known of that. An earlier one, after
            which the run went on, does not count.
    """
    if failure is not None and outcome == semconv.OUTCOME_FAILED:
        return {"status_reason": f"{outcome}: {failure.line}", "status_message": failure.stacktrace or failure.message}
    if failure is not None and outcome in (semconv.OUTCOME_RUNNING, None):
        return {"status_reason": failure.line, "status_message": failure.message}
    return {"status_reason": outcome or "nothing was reported"}


def long_enough(name: str) -> str:
    """Lengthen a name of a task or project that has less than three characters, which the server refuses."""
    return name if len(name.strip()) >= _SHORTEST_NAME else f"{name or 'unnamed'} (short)"
