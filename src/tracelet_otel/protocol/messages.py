"""Messages between a relay and the process that owns its run, in addition to the stream: lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from tracelet_otel import errors
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.main_metrics import MetricRange

CONTENT_TYPE: Final = "application/x-protobuf"
METRICS_PATH: Final = "/v1/metrics"
"""Path to which metrics are posted. Source: OTLP specification, "OTLP/HTTP Request"."""
TRACES_PATH: Final = "/v1/traces"
"""Path to which spans are posted."""
FILES_PATH: Final = "/v1/files/"
"""Beginning of the paths to which files are put: `relay.uploads`."""
RUNS_PATH: Final = "/v1/runs/"
"""Path that, followed by a run's id, gives the run's `Status` as JSON."""
RELAY_PATH: Final = "/v1/relay"
"""Path that gives the relay's own figures as JSON: `relay.figures.RelayFigures`."""
MAX_BODY_BYTES: Final = 64 * 2**20
"""Largest body of a request, both as it is sent and after it is decompressed."""

_ERRORS: Final = {
    error.__name__: error
    for error in (
        errors.ConfigurationError,
        errors.IncompatibleVersionError,
        errors.MissingDependencyError,
        errors.TrackerError,
        errors.TrackerUnavailableError,
    )
}


@dataclass(frozen=True)
class Taken:
    """What became of a request that was accepted as a whole or in part."""

    news: str = ""
    """Problems that the sender should know of, one to a line; empty where there are none."""
    rejected_points: int = 0
    """How many data points were rejected, and will be if they are sent again."""


@dataclass(frozen=True)
class Order:
    """Tells a relay what to do. It goes over the relay's standard input, since it holds secrets."""

    settings: Mapping[str, Any]
    """Settings in the form of `settings.to_plain`."""
    resource: Mapping[str, Any]
    """Resource attributes of the process that owns the run."""
    run_id: str
    token: str
    """The bearer token that each request has to have."""
    journal_directory: str
    host: str
    """Name or address on which to listen."""
    port: int
    """Port on which to listen; 0 for any that is free."""
    owner_pid: int
    owner_started: str
    """What `processes.started` gives for the owner, since a pid may be used again."""
    resumes: bool = False
    """Whether this relay takes the place of one that died."""
    collector: Mapping[str, str] = field(default_factory=dict)
    """OpenTelemetry's variables for the collector that gets the relay's own metrics; empty where there is none. The
    relay's environment has none of these, since clients of trackers would heed them."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of a relay that is a process of its own, which may have been started with others."""

    @property
    def log(self) -> Path:
        """The file in which a relay that is a process of its own keeps what it prints."""
        return Path(self.journal_directory, f"{self.run_id}.log")

    def line(self) -> str:
        """The order as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Order:
        """Read an order from its line."""
        return cls(**json.loads(line))


@dataclass(frozen=True)
class Ready:
    """A relay's answer to its order: it listens and has its run, or the error that prevents it."""

    port: int = 0
    """Port on which the relay listens."""
    run_id: str = ""
    urls: Mapping[str, str] = field(default_factory=dict)
    """Addresses of the run for people, by backend."""
    hints: Mapping[str, str] = field(default_factory=dict)
    """What has to be done before people can see the run, by backend."""
    error: str | None = None
    """Name of the error's class; None where there is no error."""
    message: str = ""
    """The error's message."""

    def line(self) -> str:
        """The answer as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Ready:
        """Read an answer from its line."""
        return cls(**json.loads(line))

    @classmethod
    def from_error(cls, error: BaseException) -> Ready:
        """The answer of a relay that cannot begin."""
        return cls(error=type(error).__name__, message=str(error))

    def raise_error(self) -> None:
        """Raise the error that the answer holds, if there is one.

        Raises:
            TraceletError: of the class that the answer names, where that is known; else a `TrackerError`.
        """
        if self.error is not None:
            raise _ERRORS.get(self.error, errors.TrackerError)(self.message)


@dataclass(frozen=True)
class Status:
    """How far the delivery of a run is."""

    urls: Mapping[str, str]
    """Addresses of the run for people, by backend, as far as they are known."""
    accounts: Mapping[str, Account]
    """How many readings were delivered, refused and are pending, by backend."""
    errors: Mapping[str, int]
    """How many errors the relay has kept away from the training, by what could not be done."""
    complete: bool
    """Whether each backend has taken everything and its run is closed."""
    over: bool
    """Whether nothing more is tried: all is delivered, or the relay has given up."""
    unclosed: Sequence[str]
    """Backends that have not taken everything, or whose run is not closed."""
    lost: Mapping[str, str]
    """Backends that take nothing more, each with the reason."""
    journal: str
    """Path of the journal, which holds what is not delivered."""
    goes_on: bool = False
    """Whether the relay of a training goes on after this run, since it has child runs that are open."""
    outcome: str | None = None
    """How the run ended, or goes: one of `semconv.OUTCOME_*`; None where none was reported."""
    attempt: int | None = None
    """The last attempt at the run that its trackers and the relay know of; 0 where it is new, None for unknown."""
    ids: Mapping[str, str] = field(default_factory=dict)
    """The backends' own ids of the run, as far as they are known."""
    hints: Mapping[str, str] = field(default_factory=dict)
    """What has to be done before people can see the run, by backend."""
    values: Sequence[MetricRange] = ()
    """The values of what was logged, once the run is over."""

    def line(self) -> str:
        """The status as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Status:
        """Read a status from its line."""
        plain = json.loads(line)
        accounts = {name: Account(**account) for name, account in plain.pop("accounts").items()}
        # A relay that somebody else has started may be of a newer version, and tell more.
        known = {one.name: plain[one.name] for one in fields(cls) if one.name in plain}
        known["values"] = [MetricRange(*one) for one in known.get("values", ())]
        return cls(accounts=accounts, **known)
